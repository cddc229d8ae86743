// Package scenario tells stories of users, as scripts that are executed.
//
// Each file in scripts is one story for the real program: its binaries are built
// once, its machines are real, its home is its own, and after the last line
// nothing of it may be left: no process, no machine, no temporary file. The
// language is testscript's; what it has beyond that is in commands_test.go:
//
//	exits CODE COMMAND...       run to the end, want this exit code
//	start NAME COMMAND...       run beside the script
//	terminal NAME LINE          run a line of the shell beside the script, on a terminal of 80x24: its stdout
//	type NAME KEYS              on that terminal; keys are written as in Go: "\n", "\x03"
//	await NAME PATTERN          until its output, stdout or stderr, matches
//	await-file FILE             until the file is there
//	await-gc PATTERN            repeat outrigger gc until it says so
//	signal NAME SIGNAL          INT, TERM, HUP, QUIT, USR1, USR2, ABRT, KILL
//	end NAME CODE               wait for it; its stdout and stderr can be matched then
//	sshd NAME [stop|restart|kill]    an OpenSSH server; sets NAME_PORT, NAME_USER, NAME_HOME, NAME_KEY, NAME_HOSTKEY
//	proxy NAME PORT             a proxy in front of a port; sets NAME_PORT
//	proxy NAME cut|vanish|stall|resume
//	vms                         the provider qemu has its image; skips where there is no QEMU
//	kill-machine                SIGKILL for the process that is a machine on this computer
//	disk DIR SIZE [noexec]      a small file system there, until the script ends; for root
//	expand FILE                 replace $NAME in it by the script's environment
//	same A B                    two trees are equal: names, kinds, modes, contents
//	nothing-left                as at the end of each script
//
// To see what a script does: go test ./test/scenario -run Scripts/NAME -v
package scenario
