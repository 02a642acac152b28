/*
 * message.h - messages as text: what put reads and get writes
 *
 *	raw    its bytes and nothing else; a whole input is one message
 *	lines  a message a line; one that has a newline in it is two
 *	hex    the same, two digits a byte: any bytes
 *	json   an object a line, {"text": "..."} or {"hex": "..."}: any bytes
 *
 * hex and json are read back as they were written.
 */
#ifndef ADM_MESSAGE_H
#define ADM_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum message_format {
	MESSAGE_RAW,
	MESSAGE_LINES,
	MESSAGE_HEX,
	MESSAGE_JSON,
	MESSAGE_N_FORMATS
};

extern const char *const message_formats[MESSAGE_N_FORMATS]; /* names */

/* The one that --format of @command names.  False, and it was said: none. */
bool message_parse_format(const char *command, const char *name,
			  enum message_format *format);

/* Bytes that are used again for each message. */
struct message_buf {
	char *at;
	size_t n, room;
};

void message_free(struct message_buf *buf);

/* Room for @n bytes in all.  0 or -ENOMEM. */
int message_room(struct message_buf *buf, size_t n);

/* So long is a line at most that says a message of @bytes. */
size_t message_line_max(enum message_format format, size_t bytes);

/*
 * message_read - the message that @text says
 * @why: what is wrong with it
 *
 * Returns 0, -EINVAL and @why, or -ENOMEM.
 */
#define MESSAGE_WHY_BYTES 200u
int message_read(enum message_format format, const char *text, size_t len,
		 struct message_buf *message, char why[MESSAGE_WHY_BYTES]);

/*
 * message_write - how @format says the message, with its newline
 * @attempts: who died on it; told by json
 * @terminal: RAW and LINES: as \xHH what could be an order to a terminal
 *
 * Returns 0 or -ENOMEM.
 */
int message_write(enum message_format format, const void *bytes, size_t len,
		  uint32_t attempts, bool terminal, struct message_buf *text);

#endif
