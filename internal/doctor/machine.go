package doctor

import (
	"fmt"
	"time"
)

var hostKeyRemedies = map[Reason]Remedy{
	KeyChanged:  {"the machine was rebuilt, its address was given to another, or somebody is in between", "{fix}"},
	KeyUnknown:  {"no key of this host is pinned, and none is in a known_hosts file", "{fix}"},
	KeyUnpinned: {"another installation made the machine and knows its key", "Nothing: who uses the machine pins the key. Compare the fingerprint there."},
	Silent:      sshPortRemedies[Silent],
	Hung:        sshPortRemedies[Hung],
	Closed:      sshPortRemedies[Closed],
	Other:       {"what answers there does not speak SSH as it should", "Check the address and the port in {settings}."},
}

func judgeHostKey(f Facts) Verdict {
	k := f.HostKey
	switch {
	case k == nil:
		return skip(Unknown, notLooked)
	case k.Trouble != nil:
		return failed(k.Trouble.Reason, k.Trouble.Text)
	case k.Wanted == "":
		return warn(KeyUnpinned, k.Found+"; it is pinned nowhere here")
	}
	return ok(k.Found + ", as it is known")
}

var loginRemedies = map[Reason]Remedy{
	LoginRefused: {"the user does not exist there, or the key or password is not its own", "Check {login}; log in by hand: ssh -p {port} {user}@{host}. MacStadium's images have admin with the password admin."},
	NoLogin:      {"no key, agent or password is configured", "Give one: {login}."},
	Silent:       sshPortRemedies[Silent],
	Closed:       sshPortRemedies[Closed],
	Hung:         sshPortRemedies[Hung],
	KeyChanged:   hostKeyRemedies[KeyChanged],
	KeyUnknown:   hostKeyRemedies[KeyUnknown],
	Other:        {"the login came to nothing", "Log in by hand and see: ssh -v -p {port} {user}@{host}"},
}

func judgeLogin(f Facts) Verdict {
	l := f.Login
	switch {
	case l == nil:
		return skip(Unknown, "not tried")
	case l.Trouble != nil && l.Trouble.Reason == KeptBack:
		return skip(KeptBack, l.Trouble.Text)
	case l.Trouble != nil:
		return failed(l.Trouble.Reason, l.Trouble.Text)
	}
	return ok(fmt.Sprintf("user %s, in %s", l.User, short(l.Took)))
}

func judgeSlots(f Facts) Verdict {
	s := f.Slots
	if s == nil {
		return skip(Unknown, "not asked")
	}
	text := fmt.Sprintf("%d of %d taken", s.Taken, s.Of)
	if s.Own > 0 {
		text += fmt.Sprintf(", %d by this pool", s.Own)
	}
	if s.Taken >= s.Of && s.Taken > s.Own { // what the pool holds itself serves it
		return warn(NoCapacity, text)
	}
	return ok(text)
}

// said returns what the machine said of itself, or why that is nothing.
func said(f Facts) (*MachineState, Verdict, bool) {
	s := f.State
	switch {
	case s == nil:
		return nil, skip(Unknown, "not asked"), false
	case s.Trouble != nil:
		return nil, warn(Unknown, s.Trouble.Text), false
	}
	return s, Verdict{}, true
}

func judgeSudo(f Facts) Verdict {
	s, v, told := said(f)
	if !told {
		return v
	}
	switch {
	case s.OS == "windows":
		return skip(NotHere, "Windows has none")
	case s.Sudo == "root":
		return ok("the login is root")
	case s.Sudo == "sudo":
		return ok(s.User + " becomes root without a password")
	case s.Sudo == "password":
		return warn(SudoPassword, s.User+" becomes root with its password")
	case s.Sudo == "none":
		return warn(NoSudo, s.User+" does not become root")
	}
	return warn(Unknown, "unknown")
}

func judgeSession(f Facts) Verdict {
	s, v, told := said(f)
	if !told {
		return v
	}
	switch {
	case s.OS == "windows":
		return ok("that of a service: without a desktop")
	case s.OS != "darwin":
		return ok("an SSH session")
	case s.Agent && s.Session == "aqua":
		return ok("aqua: what runs has a window server")
	case s.Console == "":
		return warn(Unknown, "the Mac does not say who is logged in at its screen")
	case s.Console == "root", s.Console == "_mbsetupuser", s.Console == "loginwindow":
		return warn(NobodyLoggedIn, "nobody is logged in at the screen")
	case s.Console != s.User:
		return warn(SomebodyElse, s.Console+" is logged in at the screen, and we log in as "+s.User)
	case s.Agent:
		return warn(Background, "what runs is in a session of kind "+s.Session+", although "+s.User+" is logged in at the screen")
	}
	return ok(s.User + " is logged in at the screen: what runs there will have a window server")
}

// leastFree is too little for anything: a guess. goodFree is as the pools' preparation has it.
const (
	leastFree = 256 << 20
	goodFree  = 2 << 30
)

func judgeFree(f Facts) Verdict {
	s, v, told := said(f)
	if !told {
		return v
	}
	return free(s.Free)
}

func free(bytes int64) Verdict {
	text := fmt.Sprintf("%.1f GiB free", float64(bytes)/(1<<30))
	switch {
	case bytes < 0:
		return warn(Unknown, "the machine does not say how much is free")
	case bytes < leastFree:
		return failed(DiskFull, text)
	case bytes < goodFree:
		return warn(DiskLow, text)
	}
	return ok(text)
}

// maxSkew is as the pools' preparation has it. From badSkew on certificates and tokens that
// were just made are not valid yet: a guess.
const (
	maxSkew = 2 * time.Second
	badSkew = time.Minute
)

func judgeClock(f Facts) Verdict {
	s, v, told := said(f)
	switch {
	case !told:
		return v
	case !s.Timed:
		return warn(Unknown, "the machine does not say what time it is")
	case s.Skew.Abs() <= maxSkew:
		return ok("right")
	}
	direction := "ahead of"
	if s.Skew < 0 {
		direction = "behind"
	}
	state := warn
	if s.Skew.Abs() >= badSkew {
		state = failed
	}
	return state(ClockWrong, fmt.Sprintf("%s %s that of %s", s.Skew.Abs().Round(time.Second), direction, here(f)))
}

func here(f Facts) string {
	if f.Pod {
		return "this Pod"
	}
	return "this computer"
}

// notLooked is found where machines are made on another computer, a controller's.
const notLooked = "not looked at from here"

func judgeEmulator(f Facts) Verdict {
	e := f.Emulator
	switch {
	case e == nil:
		return skip(Unknown, notLooked)
	case e.Trouble != nil:
		return failed(e.Trouble.Reason, e.Trouble.Text)
	case len(e.Tools) > 0:
		return failed(LacksTools, fmt.Sprintf("%s is there; missing: %v", e.Path, e.Tools))
	case e.Accel == "kvm" && e.KVM != "":
		return failed(NoEmulation, "accel is kvm, and "+e.KVM)
	}
	return ok(e.Version)
}

func judgeKVM(f Facts) Verdict {
	switch e := f.Emulator; {
	case e == nil:
		return skip(Unknown, notLooked)
	case e.Accel == "tcg":
		return skip(NotHere, "not used: accel is tcg")
	case e.KVM != "":
		return warn(NoKVM, e.KVM)
	}
	return ok("/dev/kvm can be opened; the first machine proves whether guests boot on it")
}

func judgeLocal(f Facts) Verdict {
	if f.Emulator == nil {
		return skip(Unknown, notLooked)
	}
	if f.Emulator.Trouble != nil {
		return failed(NotHere, f.Emulator.Trouble.Text)
	}
	return ok("machines are processes here, which isolate nothing")
}

func judgeDiskHere(f Facts) Verdict {
	switch d := f.Disk; {
	case d == nil:
		return skip(Unknown, notLooked)
	case d.Trouble != nil:
		return warn(Unknown, d.Path+": "+d.Trouble.Text)
	default:
		v := free(d.Free)
		v.Found = d.Path + ": " + v.Found
		return v
	}
}
