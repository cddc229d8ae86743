package prepare

import "time"

// Plan is the table: what is seen to on machines of a system, in this order, and
// what becomes of a machine on which it fails.
func Plan(os string) []Step {
	always := func(want Want, _ Power) Script { return Script{} }
	switch os {
	case "windows":
		return []Step{
			{Condition: KeyLogin, Weight: Unfits, Look: lookKeyWindows, Judge: judgeKey, Do: addKeyWindows, Leave: removeKeyWindows},
			{Condition: DiskSpace, Weight: Degrades, Look: lookDiskWindows, Judge: judgeDisk},
			{Condition: Clock, Weight: Degrades, Look: lookClockWindows, Judge: judgeClock, Do: setClockWindows},
		}
	case "darwin":
		return []Step{
			{Condition: SlotUser, Weight: Unfits, Host: true, Wanted: wantsSlotUser, Look: lookSlot, Judge: judgeSlot, Do: makeSlot, Leave: leaveSlot},
			{Condition: KeyLogin, Weight: Unfits, Look: lookKey, Judge: judgeKey, Do: addKey, Leave: removeKey},
			{Condition: RootAccess, Weight: Degrades, Host: true, Look: always, Judge: judgeRoot},
			{Condition: PasswordOff, Weight: Unfits, Host: true, Wanted: wantsPasswordOff, Look: lookPasswordOff, Judge: judgePasswordOff, Do: turnPasswordOff, Strip: turnPasswordOn},
			{Condition: DiskSpace, Weight: Degrades, Look: lookDisk, Judge: judgeDisk},
			{Condition: Clock, Weight: Degrades, Host: true, Look: lookClock, Judge: judgeClock, Do: setClockDarwin},
			{Condition: RootLinker, Weight: Degrades, Look: lookLinks, Judge: judgeLinks, Do: addLinks},
			{Condition: KeepAwake, Weight: Degrades, Host: true, Look: lookAwake, Judge: judgeAwake, Do: keepAwake, Leave: letSleep},
			{Condition: ConsoleUser, Weight: Degrades, Look: lookConsole, Judge: judgeConsole, Patience: loginPatience},
			{Condition: AquaSession, Weight: Degrades, Look: lookSession, Judge: judgeSession, Do: restartDaemon},
			{
				Condition: BuildKeychain, Weight: Unfits, Wanted: wantsKeychain, Look: lookKeychain, Judge: judgeKeychain,
				Do: makeKeychain, Undo: removeKeychain, Leave: removeKeychain,
			},
		}
	}
	return []Step{
		{Condition: SlotUser, Weight: Unfits, Host: true, Wanted: wantsSlotUser, Look: lookSlot, Judge: judgeSlot, Do: makeSlot, Leave: leaveSlot},
		{Condition: KeyLogin, Weight: Unfits, Look: lookKey, Judge: judgeKey, Do: addKey, Leave: removeKey},
		{Condition: RootAccess, Weight: Degrades, Host: true, Look: always, Judge: judgeRoot},
		{Condition: PasswordOff, Weight: Unfits, Host: true, Wanted: wantsPasswordOff, Look: lookPasswordOff, Judge: judgePasswordOff, Do: turnPasswordOff, Strip: turnPasswordOn},
		{Condition: DiskSpace, Weight: Degrades, Look: lookDisk, Judge: judgeDisk},
		{Condition: Clock, Weight: Degrades, Host: true, Look: lookClock, Judge: judgeClock, Do: setClockLinux},
		{Condition: RootLinker, Weight: Degrades, Look: always, Judge: judgeRewriting},
	}
}

// loginPatience is how long the automatic login at the screen may take after sshd
// answers: a guess; the desktop of a small virtual Mac takes tens of seconds.
const loginPatience = 2 * time.Minute

// Hosted is the part of a plan that the pool's login takes where claims have a user of their own, and the part that
// is taken as that user.
func Hosted(plan []Step) (host, own []Step) {
	for _, s := range plan {
		switch {
		case s.Host:
			host = append(host, s)
		case s.Condition != KeyLogin: // the key is the user's only way in, and SlotUser's
			own = append(own, s)
		}
	}
	return host, own
}

// Entry is the part of a plan that lets us in by key; the rest goes through the
// connection that the key has opened, which proves it.
func Entry(plan []Step) (entry, rest []Step) {
	for _, s := range plan {
		if s.Condition == KeyLogin {
			entry = append(entry, s)
		} else {
			rest = append(rest, s)
		}
	}
	return entry, rest
}
