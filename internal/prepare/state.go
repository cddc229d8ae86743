package prepare

import (
	"fmt"
	"strconv"
	"time"
)

func lookDisk(w Want, _ Power) Script {
	return Script{Text: fmt.Sprintf(`df -Pk %s | awk 'NR == 2 { print "free=" $4 }'`, quote(w.AgentRoot))}
}

const gib = 1 << 30

func judgeDisk(w Want, s Seen) Verdict {
	kib, err := strconv.ParseInt(s.Values["free"], 10, 64)
	if err != nil {
		return give("Unknown", "df does not say how much is free below %s: %s", w.AgentRoot, s.Words)
	}
	free := kib << 10
	if free < w.MinFree {
		return give("Low", "%.1f GiB are free, want %.1f", float64(free)/gib, float64(w.MinFree)/gib)
	}
	return fine("Room", "%.0f GiB are free", float64(free)/gib)
}

// maxSkew is how wrong a clock may be. Builds compare the times of files of both sides to the
// second, and two seconds are what a FAT file system cannot tell either: a guess.
const maxSkew = 2 * time.Second

func lookClock(Want, Power) Script { return Script{Text: `echo "now=$(date +%s)"`} }

func judgeClock(_ Want, s Seen) Verdict {
	now, err := strconv.ParseInt(s.Values["now"], 10, 64)
	if err != nil {
		return give("Unknown", "the machine does not say what time it is: %s", s.Words)
	}
	// The machine looked between our two looks, and tells no fractions.
	theirs := time.Unix(now, 0)
	skew := time.Duration(0)
	if early := s.Began.Add(-time.Second).Sub(theirs); early > 0 {
		skew = -early
	}
	if late := theirs.Sub(s.Ended); late > 0 {
		skew = late
	}
	if skew.Abs() <= maxSkew {
		return fine("Right", "")
	}
	direction := "ahead"
	if skew < 0 {
		direction = "behind"
	}
	return act("Wrong", "the machine's clock is %s %s", skew.Abs().Round(time.Second), direction)
}

// setClockDarwin lets a time server set the clock, and does it itself where none
// answers: systemsetup(8), sntp(8) (-S steps the clock, -s slews it by less, -t seconds to wait), date(1).
func setClockDarwin(_ Want, s Seen) Script {
	return Script{As: AsRoot, Text: fmt.Sprintf(`/usr/sbin/systemsetup -setusingnetworktime on >/dev/null 2>&1
/usr/bin/sntp -sS -t 5 time.apple.com >/dev/null || /bin/date -u %s >/dev/null`, s.Ended.UTC().Format("010215042006.05"))}
}

func setClockLinux(_ Want, s Seen) Script {
	return Script{As: AsRoot, Text: fmt.Sprintf(`timedatectl set-ntp true 2>/dev/null
date -u -s @%d >/dev/null`, s.Ended.Unix())}
}
