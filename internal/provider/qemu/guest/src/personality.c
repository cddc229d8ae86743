// What makes this machine itself and no copy: read once from a small disk that
// the host wrote for it.
//
// The disk holds "OUTRIGR1", the length of what follows (32 bits), and records:
// a kind (32 bits), the length of the content (32 bits), the content, and zeros
// up to a multiple of eight. All numbers are little-endian. A machine that is
// saved for later resumes sees zeros there and waits; the resumed one has its
// own disk in the same place.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <linux/rtc.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"

#define MAGIC "OUTRIGR1"
#define HEADER 12
#define RECORD 8

enum kind { SEED = 1, CLOCK, NETWORK, HOSTNAME, FILE_CONTENT };

static uint32_t number(const unsigned char *p) { return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24; }

static int64_t long_number(const unsigned char *p) { return number(p) | (int64_t)number(p + 4) << 32; }

// next steps to the record after the one at *content, or to the first.
static int next(struct personality *rest, uint32_t *kind, const unsigned char **content, uint32_t *size) {
	if (rest->left < RECORD)
		return 0;
	*kind = number(rest->record);
	*size = number(rest->record + 4);
	*content = rest->record + RECORD;
	size_t whole = RECORD + ((*size + 7ul) & ~7ul);
	if (whole > rest->left)
		return 0;
	rest->record += whole;
	rest->left -= whole;
	return 1;
}

static const unsigned char *find(const struct personality *who, enum kind wanted, uint32_t least, uint32_t *size) {
	struct personality rest = *who;
	const unsigned char *content;
	for (uint32_t kind; next(&rest, &kind, &content, size);)
		if (kind == (uint32_t)wanted && *size >= least)
			return content;
	errno = EBADMSG;
	die("personality lacks a record");
}

// personality_read waits until there is a personality on the disk. It bypasses
// the page cache, which would remember the zeros for ever.
void personality_read(const char *disk, struct personality *who) {
	int fd = open(disk, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		die(disk);
	unsigned char *buffer = aligned_alloc(4096, DISK_SIZE);
	if (!buffer)
		die("memory for the personality");
	say(WAITING);
	for (who->waited = 0;; who->waited = 1) {
		if (pread(fd, buffer, DISK_SIZE, 0) != DISK_SIZE)
			die(disk);
		if (memcmp(buffer, MAGIC, 8) == 0)
			break;
		// 5 ms: a hundredth of the time that a resume takes altogether.
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	}
	close(fd);
	who->record = buffer + HEADER;
	who->left = number(buffer + 8);
	if (who->left > DISK_SIZE - HEADER) {
		errno = EBADMSG;
		die("personality is too long");
	}
}

// personality_entropy credits the seed to the kernel's pool and makes every
// processor's generator start from it: copies of a saved machine share the
// pool's state, and would draw the same keys.
void personality_entropy(const struct personality *who) {
	uint32_t size;
	const unsigned char *seed = find(who, SEED, 32, &size);
	int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
	struct rand_pool_info *info = calloc(1, sizeof *info + size);
	if (fd < 0 || !info)
		die("/dev/urandom");
	info->entropy_count = size * 8;
	info->buf_size = size;
	memcpy(info->buf, seed, size);
	if (ioctl(fd, RNDADDENTROPY, info) || ioctl(fd, RNDRESEEDCRNG))
		die("seed the random number generator");
	explicit_bzero(info->buf, size);
	free(info);
	close(fd);
}

static int64_t nanoseconds(clockid_t clock) {
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

// personality_clock sets the clock to the host's time when it wrote the
// personality, plus the time since this kernel started if it found the
// personality at once. A resume is over within a fraction of a second, which
// is not known here and lost. The hardware clock runs with the host's but
// started without its fraction of a second: it is the better one only where a
// busy host took seconds.
void personality_clock(const struct personality *who) {
	uint32_t size;
	int64_t host = long_number(find(who, CLOCK, 8, &size));
	if (!who->waited)
		host += nanoseconds(CLOCK_BOOTTIME);
	struct rtc_time r;
	int fd = open("/dev/rtc0", O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && ioctl(fd, RTC_RD_TIME, &r) == 0) {
		struct tm t = {.tm_sec = r.tm_sec, .tm_min = r.tm_min, .tm_hour = r.tm_hour, .tm_mday = r.tm_mday, .tm_mon = r.tm_mon, .tm_year = r.tm_year};
		int64_t hardware = timegm(&t) * 1000000000ll;
		if (hardware > host)
			host = hardware;
	}
	close(fd);
	struct timespec t = {.tv_sec = host / 1000000000, .tv_nsec = host % 1000000000};
	if (clock_settime(CLOCK_REALTIME, &t))
		die("set the clock");
}

static void set_address(int fd, unsigned long request, struct ifreq *r, const char *address) {
	struct sockaddr_in *in = (struct sockaddr_in *)&r->ifr_addr;
	memset(&r->ifr_addr, 0, sizeof r->ifr_addr);
	in->sin_family = AF_INET;
	inet_pton(AF_INET, address, &in->sin_addr);
	if (ioctl(fd, request, r))
		die(address);
}

static void set_up(int fd, const char *interface) {
	struct ifreq r = {0};
	strcpy(r.ifr_name, interface);
	if (ioctl(fd, SIOCGIFFLAGS, &r))
		die(interface);
	r.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &r))
		die(interface);
}

// personality_network gives eth0 its own hardware address and the one Internet
// address that QEMU's user network has for a guest.
void personality_network(const struct personality *who) {
	uint32_t size;
	const unsigned char *mac = find(who, NETWORK, 6, &size);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die("socket");
	set_up(fd, "lo");
	struct ifreq r = {.ifr_name = "eth0"};
	r.ifr_hwaddr.sa_family = ARPHRD_ETHER;
	memcpy(r.ifr_hwaddr.sa_data, mac, 6);
	if (ioctl(fd, SIOCSIFHWADDR, &r))
		die("hardware address of eth0");
	set_address(fd, SIOCSIFADDR, &r, "10.0.2.15");
	set_address(fd, SIOCSIFNETMASK, &r, "255.255.255.0");
	set_up(fd, "eth0");
	struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};
	struct sockaddr_in *gateway = (struct sockaddr_in *)&route.rt_gateway;
	gateway->sin_family = AF_INET;
	inet_pton(AF_INET, "10.0.2.2", &gateway->sin_addr);
	route.rt_dst.sa_family = route.rt_genmask.sa_family = AF_INET;
	if (ioctl(fd, SIOCADDRT, &route))
		die("default route");
	close(fd);
}

static void make_parents(char *path) {
	for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = 0;
		mkdir(path, 0755);
		*slash = '/';
	}
}

static void write_file(const unsigned char *content, uint32_t size) {
	char path[256];
	mode_t mode = number(content);
	uint32_t length = number(content + 4);
	if (size < 8 || length >= sizeof path || length > size - 8) {
		errno = EBADMSG;
		die("personality has a bad file");
	}
	memcpy(path, content + 8, length);
	path[length] = 0;
	make_parents(path);
	unlink(path);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	size_t left = size - 8 - length;
	if (fd < 0 || write(fd, content + 8 + length, left) != (ssize_t)left || close(fd))
		die(path);
}

// personality_files writes the host's name and every file of the personality.
void personality_files(const struct personality *who) {
	uint32_t size;
	const unsigned char *name = find(who, HOSTNAME, 1, &size);
	if (sethostname((const char *)name, size))
		die("host name");
	struct personality rest = *who;
	const unsigned char *content;
	for (uint32_t kind; next(&rest, &kind, &content, &size);)
		if (kind == FILE_CONTENT)
			write_file(content, size);
}
