/*
 * iceoryx_port.cc - publishers and subscribers of iceoryx for C
 *
 * The untyped ones, as the size of a message is known when busbench runs.  The
 * library keeps its runtime until exit(), which a process of a round never
 * calls; so it gets one from here that can be ended before.
 */
#include "bench/rivals/iceoryx_port.h"

#include <memory>

#include <iceoryx_hoofs/log/logmanager.hpp>
#include <iceoryx_posh/internal/runtime/posh_runtime_impl.hpp>
#include <iceoryx_posh/popo/untyped_publisher.hpp>
#include <iceoryx_posh/popo/untyped_subscriber.hpp>
#include <iceoryx_posh/popo/wait_set.hpp>

using namespace iox;

static_assert(ICEORYX_QUEUE_MAX <= MAX_SUBSCRIBER_QUEUE_CAPACITY, "queue");

namespace
{

class client : public runtime::PoshRuntimeImpl
{
public:
	explicit client(const RuntimeName_t &name)
	    : PoshRuntimeImpl(cxx::make_optional<const RuntimeName_t *>(&name))
	{
	}

	static void begin(const RuntimeName_t &name);
	static void end();
};

client *the_client;

void client::begin(const RuntimeName_t &name)
{
	the_client = new client(name);
	setRuntimeFactory(
		[](cxx::optional<const RuntimeName_t *>) -> PoshRuntime & {
			return *the_client;
		});
}

void client::end()
{
	delete the_client;
	the_client = nullptr;
}

capro::ServiceDescription service(const char *topic)
{
	return { "busbench", capro::IdString_t(cxx::TruncateToCapacity, topic),
		 "message" };
}

popo::PublisherOptions publisher_options()
{
	popo::PublisherOptions options;

	options.subscriberTooSlowPolicy =
		popo::ConsumerTooSlowPolicy::WAIT_FOR_CONSUMER;
	return options;
}

popo::SubscriberOptions subscriber_options(uint32_t n)
{
	popo::SubscriberOptions options;

	options.queueCapacity = n;
	options.queueFullPolicy = popo::QueueFullPolicy::BLOCK_PRODUCER;
	return options;
}

} // namespace

struct iceoryx_writer {
	popo::UntypedPublisher port;

	explicit iceoryx_writer(const char *topic)
	    : port(service(topic), publisher_options())
	{
	}
};

struct iceoryx_reader {
	popo::UntypedSubscriber port;
	std::unique_ptr<popo::WaitSet<1>> wait_set;

	iceoryx_reader(const char *topic, uint32_t n, bool sleeps)
	    : port(service(topic), subscriber_options(n))
	{
		if (!sleeps)
			return;
		wait_set.reset(new popo::WaitSet<1>);
		wait_set->attachState(port, popo::SubscriberState::HAS_DATA)
			.or_else([](auto &) { std::terminate(); });
	}
};

void iceoryx_join(const char *name)
{
	log::LogManager::GetLogManager().SetDefaultLogLevel(
		log::LogLevel::kError, log::LogLevelOutput::kHideLogLevel);
	client::begin(RuntimeName_t(cxx::TruncateToCapacity, name));
}

void iceoryx_leave(void)
{
	client::end();
}

struct iceoryx_writer *iceoryx_writer_open(const char *topic)
{
	return new iceoryx_writer(topic);
}

void iceoryx_writer_close(struct iceoryx_writer *writer)
{
	delete writer;
}

bool iceoryx_writer_has_reader(const struct iceoryx_writer *writer)
{
	return writer->port.hasSubscribers();
}

void *iceoryx_writer_loan(struct iceoryx_writer *writer, size_t bytes)
{
	auto msg = writer->port.loan(static_cast<uint32_t>(bytes));

	return msg.has_error() ? nullptr : msg.value();
}

void iceoryx_writer_publish(struct iceoryx_writer *writer, void *msg)
{
	writer->port.publish(msg);
}

struct iceoryx_reader *iceoryx_reader_open(const char *topic, uint32_t n,
					   bool sleeps)
{
	return new iceoryx_reader(topic, n, sleeps);
}

void iceoryx_reader_close(struct iceoryx_reader *reader)
{
	reader->wait_set.reset();
	delete reader;
}

const void *iceoryx_reader_take(struct iceoryx_reader *reader)
{
	auto msg = reader->port.take();

	return msg.has_error() ? nullptr : msg.value();
}

void iceoryx_reader_release(struct iceoryx_reader *reader, const void *msg)
{
	reader->port.release(msg);
}

void iceoryx_reader_wait(struct iceoryx_reader *reader)
{
	reader->wait_set->wait();
}
