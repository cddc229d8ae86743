package podrelay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/host"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/reach"
	"outrigger.dev/outrigger/internal/reach/deliver"
	"outrigger.dev/outrigger/internal/relay"
	"outrigger.dev/outrigger/internal/runclient"
	"outrigger.dev/outrigger/internal/wire"
	"outrigger.dev/outrigger/internal/worksync/plan"
)

const (
	// leaseTime is how long the machine keeps the lease without hearing from a
	// relay: between two steps others may run for long. The controller ends it.
	leaseTime = 24 * time.Hour
	// defaultGrace leaves 5 s of the 30 s that a Pod has by default.
	defaultGrace = 25 * time.Second
	// maxScript bounds a script that is sent in a message rather than synced, in bytes.
	maxScript = 512 << 10
)

// A Task is a container's run, all of it known: what "relay run" was handed, or
// what somebody says who has a machine in hand.
type Task struct {
	Plan     handoff.Plan
	Claim    handoff.Claim
	Endpoint machine.Endpoint // with what logs in
	State    string           // folder for what is remembered of the Pod's runs
	Agents   deliver.Source
	Reach    reach.Options
	Boot     time.Duration // how long the machine may take to answer
	Cold     bool          // the agent may not be on the machine yet
	LeaseTTL time.Duration // how long the lease outlives its last renewal
	Argv     []string
	Script   []byte // executed with Argv as its arguments
}

// A job is one container's run.
type job struct {
	Container
	Task
	plan  handoff.Plan
	claim handoff.Claim
	state state
	views []seen
	watch watcher

	host      *host.Host
	rec       record
	net       *network
	rewritten bool // a path is replaced in what is executed, as it cannot be made
}

// run is "relay run".
func (c Container) run(ctx context.Context, argv []string) (int, error) {
	signals, stop := Listen()
	defer stop()
	plan, claim, err := c.handed()
	if err != nil {
		return 0, err
	}
	return c.Do(ctx, Task{
		Plan: plan, Claim: claim, Endpoint: claim.Reach(), State: c.path(handoff.StateDir), Agents: deliver.Dirs(c.path(handoff.AgentsDir)),
		Boot: dialLimit, LeaseTTL: leaseTime, Argv: argv,
	}, signals)
}

// Do runs t and returns the command's exit code. It reads signals as [Listen] names them.
func (c Container) Do(ctx context.Context, t Task, signals <-chan string) (int, error) {
	log := c.log()
	j := &job{Container: c, Task: t, plan: t.Plan, claim: t.Claim, state: state(t.State), watch: c.watcher(log)}
	var err error
	if j.rec, err = j.state.load(t.Plan.Container); err != nil {
		return 0, err
	}
	log.Debug("handed", "container", t.Plan.Container, "machine", t.Claim.Machine, "stage", j.rec.Stage)
	if j.views, err = c.look(t.Plan); err != nil {
		return 0, err
	}
	t.Reach.Log = log
	dialling, connected := relay.UntilSignal(ctx, signals)
	j.host, err = host.Dial(dialling, host.Config{Endpoint: t.Endpoint, Agents: t.Agents, Reach: t.Reach, Boot: t.Boot, Log: log})
	connected()
	if err != nil {
		return 0, relay.Cause(dialling, err)
	}
	defer j.host.Close()
	log.Debug("connected")
	return j.do(ctx, signals)
}

// do runs the job as far as an earlier container did not.
func (j *job) do(ctx context.Context, signals <-chan string) (int, error) {
	todo, err := j.relayJob(signals)
	if err != nil {
		return 0, err
	}
	var tty terminal
	if j.plan.TTY {
		if err := tty.open(ctx, j.IO, j.plan.Stdin); err != nil {
			return 0, err
		}
		todo.Command.TTY, todo.Streams.Resize = tty.size, tty.resize
	}
	j.net = j.connect(ctx)
	result, err := relay.Do(ctx, j.host, todo, j.watch)
	tty.close()
	if err := j.net.end(); err != nil {
		j.watch.log.Debug("end of the network", "error", err)
	}
	code := exitCode(result.Exit)
	switch {
	case j.rec.Stage == ended:
		code = j.rec.Code
	case !result.Ran && err == nil:
		err = fault.New(fault.Internal, "the command's end is not known")
	}
	j.finish(result, err)
	j.watch.log.Debug("over", "code", code, "error", err)
	known := result.Ran || j.rec.Stage == ended
	if err != nil && (result.Incomplete() || known && !fault.Is(err, fault.TimedOut)) {
		return 0, j.filesLost(code, known, result.Work, err)
	}
	return code, err
}

// finish writes down that the container is over, unless the kubelet's next try
// is to go on with what this one began.
func (j *job) finish(result relay.Result, err error) {
	switch {
	case j.rec.Stage == "":
		return // the command was not started
	case err == nil, result.Ran, fault.Is(err, fault.RunLost), !retry(err):
		j.rec.Stage = over
	default:
		return
	}
	if err := j.state.save(j.plan.Container, j.rec); err != nil {
		j.watch.Warn(err.Error())
	}
}

func retry(err error) bool { return fault.Lookup(fault.Of(err)).Retry }

// filesLost is the fault of a command whose files did not all come back. How it ended need not be known.
func (j *job) filesLost(code int, known bool, work string, err error) error {
	f := fault.New(fault.Of(err), "the command ended with exit code %d, but %w", code, err)
	if !known {
		code, f = 0, fault.New(fault.Of(err), "how the command ended is not known: %w", err)
	}
	if inner := asFault(err); inner != nil {
		f.Detail, f.Exit = inner.Detail, inner.Exit
	}
	f.Detail = strings.TrimSpace(f.Detail + "\n" + j.leave(work, err))
	f.Remedy = remedy(err)
	if code != 0 {
		f.Exit = code // why the step failed in the first place
	}
	return f
}

// exitCode is the container's for the command's end. The kernel keeps eight bits of it, and Windows'
// are 32 bits wide: what is not 0 there is not 0 here.
func exitCode(e runclient.Exit) int {
	code := e.Code
	if e.Signal != "" {
		code = fault.ExitSignal + e.SigNum
	}
	return fault.Byte(code)
}

func asFault(err error) *fault.Error {
	var f *fault.Error
	errors.As(err, &f)
	return f
}

// relayJob makes the container's part of the job what package relay carries out.
func (j *job) relayJob(signals <-chan string) (relay.Job, error) {
	todo := relay.Job{
		Lease: relay.Lease{
			Name: j.claim.Lease, Owner: j.claim.Owner, Note: j.claim.Name, TTL: j.LeaseTTL,
		},
		Command:  wire.RunSpec{Argv: j.Argv, Script: j.Script, Env: environ(j.plan, j.IO.Environ)},
		Streams:  runclient.Streams{Out: j.IO.Out, Err: j.IO.Err},
		Signals:  signals,
		Grace:    j.plan.Grace,
		Warm:     !j.Cold,
		Starting: j.starting,
		Ended:    j.ended,
		Absence:  j.absence(),
		Log:      j.watch.log,
	}
	if todo.Grace <= 0 {
		todo.Grace = defaultGrace
	}
	todo.Command.KillGrace = todo.Grace
	if j.plan.Stdin {
		todo.Streams.In = j.IO.In
	}
	switch j.rec.Stage {
	case started:
		todo.Resume = true
	case ended:
		todo.Over, todo.Lease.Known = true, j.rec.Lease
	default:
		j.rec = record{Run: string(machine.NewName("run"))}
	}
	todo.Command.RunID = j.rec.Run
	for _, v := range j.views {
		if v.ID != sameView {
			todo.Files = append(todo.Files, j.files(v))
		}
	}
	todo.Links = links(j.views, j.plan.Tekton)
	for i := range todo.Links {
		j.tolerate(&todo.Links[i])
	}
	creds, err := j.credentials()
	if err != nil {
		return todo, err
	}
	todo.Links = append(todo.Links, creds...)
	dir, link := j.workFolder()
	todo.Command.Dir = dir
	if link != nil {
		todo.Links = append(todo.Links, *link)
	}
	return todo, nil
}

// absence is how long the command goes on while the connection is lost.
func (c Container) absence() time.Duration {
	d, err := time.ParseDuration(c.IO.Getenv(absenceVariable))
	if err != nil || d < time.Second {
		return wire.DefaultAbsence
	}
	return d
}

// files is how a view is synced.
func (j *job) files(v seen) relay.Files {
	p := layout(v, j.views)
	vs := viewState{dir: j.state.view(v.ID), tag: "relay-" + v.ID, wait: func() {
		j.watch.Warn("waiting for another container of this Pod that syncs the same volumes")
	}}
	for _, m := range v.mounts {
		if !m.file {
			vs.dirs = append(vs.dirs, filepath.Join(j.root(), m.local))
		}
	}
	f := relay.Files{
		Alone: v.ID == terminationView(j.plan),
		Dir:   j.root(), StateDir: vs.sync(), Exclude: p.exclude, TempTag: vs.tag,
		Folder: v.ID, Fixed: p.fixed, ProbeIn: p.probe, Up: v.Up, Hold: vs.hold,
		// As on a node: another container may delete what it likes, who writes last
		// is right, and what the container may not read it need not.
		AllowHere: true, Prefer: plan.Far, AsHere: true,
		// What a step does to a repository is for the Pod's other containers to see,
		// as on a node. They trust each other already: they share the volume.
		TakeGit: true, TakeSetID: true,
	}
	if v.Live {
		f.Changed = j.dataLinks(v).changed
	}
	return f
}

// tolerate says what is done about a mount's link that cannot be made.
func (j *job) tolerate(l *relay.Link) {
	at := l.Path
	l.Rewritten = func(a wire.LinkAnswer) {
		j.rewritten = true
		if at != j.plan.TerminationLog && j.state.first("rewrite") {
			j.watch.Warn(fmt.Sprintf("%s cannot be made to appear on the machine (%s): it and other mounts are replaced by their places in the lease's folder, here %s, in the command, its arguments, environment and script",
				at, a.Why, a.Target))
		}
	}
	l.Failed = func(err error) error {
		switch {
		case !relay.PathTaken(err):
			return err
		case at == j.plan.TerminationLog:
			j.watch.log.Debug("no termination log on the machine", "cause", err)
			return nil
		}
		f := fault.New(fault.Of(err), "%w", err)
		if inner := asFault(err); inner != nil {
			f.Detail = inner.Detail
		}
		return f.WithRemedy("Mount the volume at a path that does not exist on the machine, or leave it out with the annotation outrigger.dev/sync.<volume>: none")
	}
}

// workFolder returns where the command starts, and the link that makes it
// exist if no view does.
func (j *job) workFolder() (dir string, link *relay.Link) {
	dir = j.plan.WorkDir
	if dir == "" && inViews(j.views, j.workDir()) {
		dir = j.workDir()
	}
	switch {
	case dir == "":
		return cwdDir, &relay.Link{Path: path.Join(atDir, "cwd"), Target: cwdDir, Inside: true, Make: true}
	case dir == "/":
		return dir, nil
	case !inViews(j.views, dir):
		return dir, &relay.Link{
			Path: dir, Target: path.Join(dirsDir, dir), Make: true,
			Rewritten: func(wire.LinkAnswer) {},
			Failed: func(err error) error {
				if relay.PathTaken(err) {
					return nil // the machine has a folder there: that is where it starts
				}
				return err
			},
		}
	}
	// As the container runtime does, were it here.
	if err := os.MkdirAll(j.path(dir), 0o755); err != nil {
		j.watch.log.Debug("working folder", "dir", dir, "error", err)
	}
	return dir, nil
}

// starting is called when all is ready: from here on the command may run.
func (j *job) starting(ctx context.Context, spec *wire.RunSpec, lease wire.Lease) error {
	if j.rec.Stage == started && !j.rec.Lease.Equal(lease.Created) {
		return fault.New(fault.RunLost, "run %s: was started before this container was restarted, and the machine has forgotten it since", j.rec.Run)
	}
	j.nameArtifacts(spec)
	if j.rewritten {
		if err := j.inlineScript(spec); err != nil {
			return err
		}
		j.followSteps(spec)
	}
	if j.plan.Tekton {
		j.endLeftovers()
	}
	proxy, err := j.net.ready(ctx)
	if err != nil {
		return err
	}
	spec.Env = proxied(spec.Env, proxy)
	j.rec.Stage, j.rec.Lease, j.rec.Proxy, j.rec.Forwards = started, lease.Created, proxy, j.plan.Forwards
	return j.state.save(j.plan.Container, j.rec)
}

// inlineScript sends the step's script in the message, in which paths are
// replaced, and not only as a file, in which they are not.
func (j *job) inlineScript(spec *wire.RunSpec) error {
	if len(spec.Argv) == 0 || !strings.HasPrefix(spec.Argv[0], tekton+"/scripts/") {
		return nil
	}
	b, err := os.ReadFile(j.path(spec.Argv[0]))
	if err != nil || len(b) > maxScript {
		return nil // the machine has the file too, and says what is wrong with it
	}
	spec.Script, spec.Argv = b, spec.Argv[1:]
	return nil
}

// followSteps names what the links in /tekton/steps lead to, instead of them: they
// say a path that does not exist on the machine, and what they say is not replaced.
func (j *job) followSteps(spec *wire.RunSpec) {
	links, err := filepath.Glob(j.path(stepsDir + "/*"))
	if err != nil {
		return // the pattern is ours
	}
	var pairs []string
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && runStatus.MatchString(to) {
			pairs = append(pairs, stepsDir+"/"+filepath.Base(link)+"/", to+"/")
		}
	}
	if pairs == nil {
		return
	}
	follow := strings.NewReplacer(pairs...)
	if len(spec.Script) > 0 {
		spec.Script = []byte(follow.Replace(string(spec.Script)))
	}
	for _, list := range [][]string{spec.Argv, spec.Env} {
		for i := range list {
			list[i] = follow.Replace(list[i])
		}
	}
}

// ended is called when the command's end is known and all that it said is written.
func (j *job) ended(e runclient.Exit) error {
	j.net.cut()
	j.rec.Stage, j.rec.Code = ended, exitCode(e)
	return j.state.save(j.plan.Container, j.rec)
}

// endLeftovers kills what a step left whose relay was killed, as Tekton does
// with a step that takes too long: steps run one after the other.
func (j *job) endLeftovers() {
	others, err := j.state.others(j.plan.Container)
	if err != nil {
		j.watch.Warn(err.Error())
		return
	}
	for name, rec := range others {
		if rec.Stage != started {
			continue
		}
		if err := j.kill(rec.Run); err != nil {
			j.watch.Warn("what container " + name + " left on the machine could not be ended: " + err.Error())
			continue
		}
		rec.Stage = over
		if err := j.state.save(name, rec); err != nil {
			j.watch.log.Debug("record of another container", "container", name, "error", err)
		}
	}
}

// killLimit bounds the killing of a leftover, which normally takes a round trip.
const killLimit = 10 * time.Second

func (j *job) kill(run string) error {
	ctx, cancel := context.WithTimeout(context.Background(), killLimit)
	defer cancel()
	conn, err := j.host.Open(ctx, host.Connect, func(conn *wire.Conn) error {
		return conn.SendRequest(wire.MethodRunKill, wire.RunKill{RunID: run, Lease: j.claim.Lease, Now: true})
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	return conn.RecvResponse(nil)
}
