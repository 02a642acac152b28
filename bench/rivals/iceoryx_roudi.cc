/*
 * iceoryx_roudi.cc - RouDi, the daemon of iceoryx, in a process of ours
 *
 * What iox-roudi does, with one pool of messages instead of a configuration
 * file.  It does not watch whether its clients are alive: on a machine that has
 * more to do it would take the ports away from who is late.
 */
#include "bench/rivals/iceoryx_roudi.h"

#include <cerrno>
#include <cstring>
#include <string>

#include <fcntl.h>
#include <glob.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include <iceoryx_hoofs/log/logmanager.hpp>
#include <iceoryx_hoofs/platform/platform_settings.hpp>
#include <iceoryx_posh/internal/mepoo/memory_manager.hpp>
#include <iceoryx_posh/internal/roudi/memory/port_pool_memory_block.hpp>
#include <iceoryx_posh/internal/roudi/roudi.hpp>
#include <iceoryx_posh/roudi/iceoryx_roudi_components.hpp>

using namespace iox;

namespace
{

const std::string locks = platform::IOX_LOCK_FILE_PATH_PREFIX;
const std::string sockets = platform::IOX_UDS_SOCKET_PATH_PREFIX;

posix::PosixGroup::string_t group_name()
{
	return posix::PosixGroup::getGroupOfCurrentProcess().getName();
}

mepoo::MePooConfig mempool_of(struct iceoryx_pool pool)
{
	const size_t unit = CHUNK_DEFAULT_USER_PAYLOAD_ALIGNMENT;
	mepoo::MePooConfig config;

	config.addMemPool(
		{ static_cast<uint32_t>((pool.bytes + unit - 1) / unit * unit),
		  pool.n });
	return config;
}

RouDiConfig_t config_of(struct iceoryx_pool pool)
{
	RouDiConfig_t config;

	config.m_sharedMemorySegments.push_back(
		{ group_name(), group_name(), mempool_of(pool) });
	return config;
}

/* Whoever is RouDi has this locked. */
bool is_taken()
{
	const std::string path = locks + roudi::ROUDI_LOCK_NAME + ".lock";
	int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
	bool taken;

	if (fd < 0) /* or it is another user's */
		return errno != ENOENT;
	taken = flock(fd, LOCK_EX | LOCK_NB) != 0;
	close(fd);
	return taken;
}

void wait_for_end(int fd)
{
	char byte;
	ssize_t n;

	do
		n = read(fd, &byte, 1);
	while (n > 0 || (n < 0 && errno == EINTR));
}

} // namespace

uint64_t iceoryx_roudi_bytes(struct iceoryx_pool pool)
{
	roudi::DefaultRouDiMemory memory(config_of(pool));
	roudi::PortPoolMemoryBlock ports;

	return memory.m_introspectionMemPoolBlock.size() +
	       memory.m_segmentManagerBlock.size() + ports.size() +
	       mepoo::MemoryManager::requiredChunkMemorySize(mempool_of(pool));
}

int iceoryx_roudi_run(struct iceoryx_pool pool, int ready_fd, int stop_fd)
{
	static const char ready[] = "ready\n";

	log::LogManager::GetLogManager().SetDefaultLogLevel(
		log::LogLevel::kError, log::LogLevelOutput::kHideLogLevel);
	if (is_taken())
		return -EADDRINUSE;

	roudi::IceOryxRouDiComponents parts(config_of(pool));
	roudi::RouDi daemon(parts.rouDiMemoryManager, parts.portManager,
			    roudi::RouDi::RoudiStartupParameters(
				    roudi::MonitoringMode::OFF, false));

	if (write(ready_fd, ready, strlen(ready)) < 0)
		return -errno;
	wait_for_end(stop_fd);
	return 0;
}

void iceoryx_roudi_clean(const char *prefix)
{
	const std::string channel = roudi::IPC_CHANNEL_ROUDI_NAME;
	const std::string names[] = {
		sockets + channel,
		locks + channel + ".lock",
		locks + roudi::ROUDI_LOCK_NAME + ".lock",
	};
	glob_t left;

	for (const std::string &folder : { sockets, locks }) {
		if (glob((folder + prefix + "*").c_str(), 0, nullptr, &left))
			continue;
		for (size_t i = 0; i < left.gl_pathc; i++)
			unlink(left.gl_pathv[i]);
		globfree(&left);
	}
	if (is_taken())
		return;
	shm_unlink((std::string("/") + roudi::SHM_NAME).c_str());
	shm_unlink((std::string("/") + group_name().c_str()).c_str());
	for (const std::string &name : names)
		unlink(name.c_str());
}
