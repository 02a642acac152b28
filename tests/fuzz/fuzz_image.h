/*
 * fuzz_image.h - the file of a bus that anybody may have written
 *
 * The bytes of a good bus, some of them changed, the header's checksum right
 * or not, the file too short or too long.
 */
#ifndef FUZZ_IMAGE_H
#define FUZZ_IMAGE_H

#include "tests/fuzz/fuzz.h"

/*
 * fuzz_image - what is opened from now on is such a file
 * @how: of the input, bits 0 to 3: another length of the file, to the left of
 *       it how far; its header has a wrong checksum
 * @says_length: the header says how long the file is, not how long the bus
 */
void fuzz_image(struct fuzz_in *in, uint32_t how, bool says_length);

#endif
