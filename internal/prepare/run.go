package prepare

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/fault"
)

const (
	// scriptLimit bounds one script; the slowest asks a time server.
	scriptLimit = 2 * time.Minute
	// lookPause is between two looks at what comes about by itself.
	lookPause = time.Second
)

// A Report is what preparing found.
type Report struct {
	Findings []Finding
	Power    Power
}

// Err returns a fault if the machine must not be used.
func (r Report) Err() error {
	var why []string
	for _, f := range r.Findings {
		if f.Unfit {
			why = append(why, f.String())
		}
	}
	if len(why) == 0 {
		return nil
	}
	return fault.New(fault.NotPrepared, "the machine cannot be prepared: %s", strings.Join(why, "; "))
}

// Run takes the steps in their order. An error means that the machine could not be
// asked; what it did not do is in the report.
func Run(ctx context.Context, sh Shell, steps []Step, want Want) (Report, error) {
	r := runner{sh: sh, want: want}
	var report Report
	err := r.power0(ctx)
	if err != nil {
		return report, err
	}
	report.Power = r.power
	for _, s := range steps {
		if s.Wanted != nil && !s.Wanted(want) || slices.Contains(want.Skip, s.Condition) {
			continue
		}
		v, err := r.step(ctx, s)
		if err != nil {
			return report, fmt.Errorf("%s: %w", s.Condition, err)
		}
		ok := v.Next == Fine
		report.Findings = append(report.Findings, Finding{
			Condition: s.Condition, OK: ok, Reason: v.Reason, Message: v.Message,
			Unfit: !ok && (s.Weight == Unfits || slices.Contains(want.Require, s.Condition)),
		})
	}
	return report, nil
}

// Undo takes back what must not outlast a claim.
func Undo(ctx context.Context, sh Shell, steps []Step, want Want) error {
	want.Tenants = true
	return takeBack(ctx, sh, steps, want, func(s Step) func(Want, Power) Script { return s.Undo })
}

// Leave takes back what must not outlast the machine, on a host that goes on.
func Leave(ctx context.Context, sh Shell, steps []Step, want Want) error {
	want.Tenants = !want.Separate
	return takeBack(ctx, sh, steps, want, func(s Step) func(Want, Power) Script { return s.Leave })
}

// Strip takes back what must not be in an image of the machine: its key, what lets only us in, secrets.
func Strip(ctx context.Context, sh Shell, steps []Step, want Want) error {
	return takeBack(ctx, sh, steps, want, func(s Step) func(Want, Power) Script {
		if s.Strip != nil {
			return s.Strip
		}
		return s.Leave
	})
}

func takeBack(ctx context.Context, sh Shell, steps []Step, want Want, of func(Step) func(Want, Power) Script) error {
	r := runner{sh: sh, want: want}
	if err := r.power0(ctx); err != nil {
		return err
	}
	for _, s := range slices.Backward(steps) { // the key, by which we are let in, last
		script := of(s)
		if script == nil || s.Wanted != nil && !s.Wanted(want) || slices.Contains(want.Skip, s.Condition) {
			continue
		}
		todo := script(want, r.power)
		out, _, err := r.script(ctx, todo)
		if err == nil && out.Exit != 0 {
			err = r.notTaken(todo, out)
		}
		if err != nil {
			return fmt.Errorf("%s: take it back: %w", s.Condition, err)
		}
	}
	return nil
}

// notTaken says why something was not taken back.
func (r *runner) notTaken(s Script, out Output) error {
	if s.As == AsUser || r.power.Root() || !r.want.Tenants || r.want.Password.Empty() {
		return fault.New(fault.NotPrepared, "exit code %d: %s", out.Exit, words(out))
	}
	return fault.New(fault.NotPrepared, "user %s becomes root with its password only, which is not sent to where claims and recipes have run: %s",
		r.power.User, words(out)).WithRemedy("Let sudo not ask this user for a password, or leave the step out of the pool's preparation.")
}

type runner struct {
	sh    Shell
	want  Want
	power Power
}

// power0 finds out who the login is and how it becomes root.
func (r *runner) power0(ctx context.Context) error {
	if r.want.OS == "windows" {
		return nil
	}
	out, _, err := r.script(ctx, Script{Text: powerScript})
	if err != nil {
		return err
	}
	got := parse(out.Stdout)
	r.power = Power{User: got["user"], UID: got["uid"], Sudo: Sudo(got["sudo"])}
	if r.power.User == "" || r.power.UID == "" {
		return fault.New(fault.AgentUnfit, "the machine's shell does not say who the login is: exit code %d: %s", out.Exit, words(out))
	}
	if _, err := strconv.ParseUint(r.power.UID, 10, 32); err != nil {
		return fault.New(fault.AgentUnfit, "the machine's shell says that the login's number is %q", r.power.UID)
	}
	if r.power.Sudo != SudoNone || r.want.Password.Empty() || r.want.Tenants {
		return nil
	}
	r.power.Sudo = SudoPassword
	out, _, err = r.script(ctx, Script{Text: "exit 0\n", As: AsRoot})
	if err == nil && out.Exit != 0 {
		r.power.Sudo = SudoNone
	}
	return err
}

// powerScript prints user, uid and sudo.
const powerScript = `echo "user=$(id -un)"; echo "uid=$(id -u)"
if [ "$(id -u)" = 0 ]; then echo sudo=root
elif /usr/bin/env -i PATH=` + systemPath + ` ` + sudoPath + ` -n -- /bin/sh -c : </dev/null >/dev/null 2>&1; then echo sudo=sudo
else echo sudo=none; fi
`

func (r *runner) script(ctx context.Context, s Script) (Output, [2]time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, scriptLimit)
	defer cancel()
	line, before := r.power.command(s, r.want.OS, r.want.Password)
	text := s.Text
	if r.want.OS != "windows" {
		// Braces: the shell reads all of it before anything of it runs, so that no command in it eats the rest.
		text = before + "{\n" + text + "\n}\nexit\n"
	}
	began := time.Now()
	out, err := r.sh.Run(ctx, line, []byte(text))
	return out, [2]time.Time{began, time.Now()}, err
}

// step looks, judges, does and looks again.
func (r *runner) step(ctx context.Context, s Step) (Verdict, error) {
	deadline := time.Now().Add(s.Patience)
	done, said := false, ""
	for {
		seen, err := r.look(ctx, s, done)
		if err != nil {
			return Verdict{}, err
		}
		v := s.Judge(r.want, seen)
		switch {
		case v.Next == Wait && time.Now().Before(deadline):
			select {
			case <-time.After(lookPause):
				continue
			case <-ctx.Done():
				return Verdict{}, fault.New(fault.Unreachable, "gave up: %w", context.Cause(ctx))
			}
		case v.Next == Act && !done && s.Do != nil:
			todo := s.Do(r.want, seen)
			if todo.As != AsUser && !r.power.Root() {
				return give("NoRoot", "%s; the login may not become root to change that", v.Message), nil
			}
			out, _, err := r.script(ctx, todo)
			if err != nil {
				return Verdict{}, err
			}
			done, said = true, words(out)
			continue
		case v.Next == Act, v.Next == Wait:
			v.Next = Give
		}
		if v.Next == Give && said != "" {
			v.Message += "; the machine said: " + said
		}
		return v, nil
	}
}

func (r *runner) look(ctx context.Context, s Step, done bool) (Seen, error) {
	script := s.Look(r.want, r.power)
	if script.As != AsUser && !r.power.Root() {
		return Seen{Power: r.power, Done: done}, nil // Judge sees that nothing was seen
	}
	out, at, err := r.script(ctx, script)
	return Seen{
		Values: parse(out.Stdout), Words: words(out), Exit: out.Exit, Began: at[0], Ended: at[1], Power: r.power, Done: done,
	}, err
}
