#ifndef GUEST_H
#define GUEST_H

#include <stddef.h>

// DISK_SIZE is the size of the personality disk: personality.go writes it.
#define DISK_SIZE 65536

// Dropbear answers a new connection in 0.3 s in an emulated processor, OpenSSH's
// server in 0.7 s. With its default window of 24 KiB it takes in 11 MB/s there,
// with this one 18.
#define SSH_SERVER \
	{"/usr/sbin/dropbear", "-F", "-E", "-s", "-W", "4194304", "-r", "/run/outrigger/host_key", NULL}

// What the host waits for on the console: guest.go knows these lines.
#define WAITING "outrigger: waiting for a personality"
#define UP "outrigger: up"

struct personality {
	const unsigned char *record; // first record, in the buffer of the whole disk
	size_t left;                 // bytes of records from there
	int waited;                  // the disk was empty at first
};

void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void die(const char *what) __attribute__((noreturn));

void personality_read(const char *disk, struct personality *who);
void personality_entropy(const struct personality *who);
void personality_clock(const struct personality *who);
void personality_network(const struct personality *who);
void personality_files(const struct personality *who);

#endif
