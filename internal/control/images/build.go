package images

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/control/pools"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/imagebuild"
	"outrigger.dev/outrigger/internal/machine"
	"outrigger.dev/outrigger/internal/provider"
)

// Why a build is broken off.
var (
	errLate       = errors.New("the build took longer than spec.timeout")
	errSuperseded = errors.New("something else is asked for by now")
)

// defaultTimeout is the API's default.
const defaultTimeout = 3 * time.Hour

// A failure is why a try has failed.
type failure struct {
	reason, message string
	line            int
	output          string
	machine         bool // the machine is worth a look
}

// build makes the image on the claim's machine. What it does there is begun once: that is written before.
func (r *reconciler) build(ctx context.Context, l *look) error {
	login, err := pools.HeldLogin(ctx, r.live, r.Namespace, l.claim, r.Renew)
	switch {
	case isAPI(err):
		return err
	case err != nil:
		return r.fail(ctx, l, failure{reason: string(fault.Of(err)), message: err.Error()})
	case login == nil:
		return r.fail(ctx, l, failure{reason: string(fault.MachineLost), message: fmt.Sprintf("machine %s is gone", l.claim.Status.Machine)})
	}
	name := string(login.Machine)
	if _, err := r.setStatus(ctx, l, func(st *v1alpha1.MachineImageStatus) {
		now := metav1.NewTime(r.now())
		st.Build.Phase, st.Build.ScriptAt, st.Build.Machine = v1alpha1.BuildScript, &now, name
		built(l.image, st, false, v1alpha1.ReasonImageBuilding, fmt.Sprintf("image %s is being built on machine %s", l.wanted, name))
	}); err != nil {
		return err
	}
	r.Log.Info("build begins", "image", l.image.Name, "name", l.wanted, "machine", name)
	r.event(l.image, normal, "BuildStarted", fmt.Sprintf("machine %s is made into image %s", name, l.wanted))

	timeout := defaultTimeout
	if t := l.image.Spec.Timeout; t != nil && t.Duration > 0 {
		timeout = t.Duration
	}
	limit, cancel := context.WithTimeoutCause(ctx, timeout, errLate)
	defer cancel()
	said := &tail{log: r.Log.With("image", l.image.Name, "machine", name)}
	err = r.attended(limit, l, said, func(ctx context.Context) error {
		if err := r.with(ctx, l, *login, r.Maker.Reopen); err != nil {
			return err
		}
		return r.Maker.Provision(ctx, *login, l.recipe, said)
	})
	if err == nil {
		err = r.save(limit, l, *login)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err() // this process ends; the next one begins anew
	case isAPI(err):
		return err
	case errors.Is(err, errSuperseded):
		return nil // the next look says by what
	case err != nil:
		return r.fail(ctx, l, failed(err, said.String(), l.image.Status.Build.Phase))
	}
	return r.finish(ctx, l, said.String())
}

// failed puts an error into words for the status.
func failed(err error, output string, phase v1alpha1.BuildPhase) failure {
	f := failure{reason: string(fault.Of(err)), message: err.Error(), output: output}
	var script *imagebuild.ScriptError
	switch {
	case errors.As(err, &script):
		f.reason, f.line, f.machine = v1alpha1.ReasonImageScriptFailed, script.Line, true
	case errors.Is(err, errLate):
		f.reason, f.machine = v1alpha1.ReasonImageTimeout, phase == v1alpha1.BuildScript
	case fault.Of(err) == fault.Internal: // whoever failed gave no kind: the connection or the provider
		f.reason = string(fault.ProviderDown)
	}
	return f
}

// attended does something long, and breaks it off when it is no longer wanted. Meanwhile it
// writes down what was said.
func (r *reconciler) attended(ctx context.Context, l *look, said *tail, do func(context.Context) error) error {
	poked := make(chan struct{}, 1)
	r.mu.Lock()
	r.pokes[l.image.Name] = poked
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.pokes, l.image.Name)
		r.mu.Unlock()
	}()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	finished := make(chan error, 1)
	go func() { finished <- do(ctx) }()
	tell, inputs := time.NewTicker(r.Times.Tell), time.NewTicker(r.Times.Inputs)
	defer tell.Stop()
	defer inputs.Stop()
	for {
		select {
		case err := <-finished:
			if cause := context.Cause(ctx); err != nil && cause != nil {
				return cause
			}
			return err
		case <-tell.C:
			r.tellOutput(ctx, l, said)
			continue
		case <-poked:
		case <-inputs.C:
		}
		if err := r.wantedStill(ctx, l); err != nil {
			cancel(err)
		}
	}
}

// tellOutput writes down what was printed lately. People read it and nothing depends on it.
func (r *reconciler) tellOutput(ctx context.Context, l *look, said *tail) {
	err := r.goOn(ctx, l, func(st *v1alpha1.MachineImageStatus) { st.Build.Output = said.String() })
	if err != nil && ctx.Err() == nil && !errors.Is(err, errSuperseded) {
		r.Log.Warn("output of a build", "image", l.image.Name, "error", err)
	}
}

// wantedStill returns why a build is not to go on. Who cannot be asked now is asked again.
func (r *reconciler) wantedStill(ctx context.Context, l *look) error {
	now, err := r.look(ctx, l.image.Name)
	switch {
	case err != nil || ctx.Err() != nil:
		return nil //nolint:nilerr // the API server is asked again
	case now.image == nil, now.image.UID != l.image.UID, !now.image.DeletionTimestamp.IsZero():
		return errSuperseded
	case now.claim == nil, now.claim.UID != l.claim.UID, !now.claim.DeletionTimestamp.IsZero():
		return fault.New(fault.MachineLost, "claim %s, which had the machine, was deleted", l.claim.Name)
	case now.claimed().Lost:
		return fault.New(fault.MachineLost, "%s", now.claimed().Message)
	case now.trouble != nil && now.trouble.passing:
		return nil // it is asked again
	case now.trouble != nil, now.wanted != l.wanted:
		return errSuperseded
	}
	return l.renew(now.image)
}

// renew takes the object as it is now, whose labels or keepOnFailure may have changed, unless another
// controller has taken the build over.
func (l *look) renew(now *v1alpha1.MachineImage) error {
	old, b := l.image.Status.Build, now.Status.Build
	if now.UID != l.image.UID || !now.DeletionTimestamp.IsZero() || b == nil || b.ClaimUID != old.ClaimUID || b.Phase != old.Phase {
		return errSuperseded
	}
	l.image = now
	return nil
}

// goOn writes the status of a build that is under way. That somebody changed the object meanwhile does not end the build.
func (r *reconciler) goOn(ctx context.Context, l *look, change func(*v1alpha1.MachineImageStatus)) error {
	for {
		_, err := r.setStatus(ctx, l, change)
		if !apierrors.IsConflict(err) {
			return err
		}
		now := &v1alpha1.MachineImage{}
		if err := r.live.Get(ctx, client.ObjectKeyFromObject(l.image), now); apierrors.IsNotFound(err) {
			return errSuperseded
		} else if err != nil {
			return err
		}
		if err := l.renew(now); err != nil {
			return err
		}
	}
}

// save makes the machine one that was never ours, and has the provider save it.
func (r *reconciler) save(ctx context.Context, l *look, login handoff.Claim) error {
	if err := r.goOn(ctx, l, func(st *v1alpha1.MachineImageStatus) {
		st.Build.Phase = v1alpha1.BuildSaving
		built(l.image, st, false, v1alpha1.ReasonImageSaving, fmt.Sprintf("machine %s is being saved as image %s", login.Machine, l.wanted))
	}); err != nil {
		return err
	}
	r.event(l.image, normal, "BuildSaving", fmt.Sprintf("files and script are done: machine %s is saved as image %s", login.Machine, l.wanted))
	err := r.with(ctx, l, login, r.Maker.Unmake)
	if err == nil {
		_, err = l.saver.SaveImage(ctx, login.Machine, l.wanted)
	}
	if err == nil {
		return nil
	}
	// The answer may be all that was lost; or somebody else has made the same image at the same time.
	lasting, cancel := context.WithTimeout(context.WithoutCancel(ctx), listLimit)
	defer cancel()
	if e := l.list(lasting); e == nil {
		switch have, ok := l.stored[l.wanted]; {
		case ok && have.State == "":
			r.Log.Info("image is there, although saving it failed", "image", l.image.Name, "name", l.wanted, "error", err)
			return nil
		case ok && ctx.Err() == nil && !fault.Is(err, fault.NameTaken): // what there is of it is no image
			if e := l.store.DeleteImage(lasting, l.wanted); e != nil {
				r.Log.Info("image that was not saved stays for now", "image", l.image.Name, "name", l.wanted, "error", e)
			}
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// with does something to the machine as the pool knows it.
func (r *reconciler) with(
	ctx context.Context, l *look, login handoff.Claim, do func(context.Context, handoff.Claim, pools.Work) error,
) error {
	made, err := l.place.Get(ctx, machine.Name(login.Machine))
	if err != nil {
		return err
	}
	if l.place.Adopt != nil {
		made.Endpoint = l.place.Adopt(made.Endpoint)
	}
	return do(ctx, login, pools.Work{Machine: made, Pool: l.pool})
}

// finish writes down that the image is there. Pools use it if it is still what is asked for: the next look sees to that.
func (r *reconciler) finish(ctx context.Context, l *look, output string) error {
	if err := l.list(ctx); err != nil {
		r.Log.Info("size of an image", "image", l.image.Name, "error", err)
	}
	var took time.Duration
	err := r.goOn(ctx, l, func(st *v1alpha1.MachineImageStatus) {
		r.done(st.Build)
		took = st.Build.EndedAt.Sub(st.Build.StartedAt.Time)
		st.Build.Output = output
		made := r.described(l.image, l.wanted, l.stored[l.wanted])
		made.Took = &metav1.Duration{Duration: took.Round(time.Second)}
		at := 0
		if len(st.Images) > 0 && st.Images[0].Name == st.Image {
			at = 1 // the one in use stays the first until the next look
		}
		rest := without(st.Images, made.Name)
		at = min(at, len(rest))
		st.Images = append(append(append([]v1alpha1.BuiltImage{}, rest[:at]...), made), rest[at:]...)
	})
	if err != nil {
		return err
	}
	r.meters.built(l.image.Name, took)
	r.Log.Info("image built", "image", l.image.Name, "name", l.wanted, "took", took)
	r.event(l.image, normal, "ImageBuilt", fmt.Sprintf("image %s was built in %s", l.wanted, took.Round(time.Second)))
	return nil
}

func without(all []v1alpha1.BuiltImage, name string) []v1alpha1.BuiltImage {
	var out []v1alpha1.BuiltImage
	for _, i := range all {
		if i.Name != name {
			out = append(out, i)
		}
	}
	return out
}

// described is an image as the status has it.
func (r *reconciler) described(i *v1alpha1.MachineImage, name string, have provider.Image) v1alpha1.BuiltImage {
	now := metav1.NewTime(r.now())
	return v1alpha1.BuiltImage{Name: name, Base: i.Spec.Base, Since: &now, Bytes: have.Bytes}
}

// keptMark is where a condition's message begins to speak of the machine that is kept.
const keptMark = "; machine "

// fail writes down that a try has failed, why, and when the next one is.
func (r *reconciler) fail(ctx context.Context, l *look, f failure) error {
	now := metav1.NewTime(r.now())
	var keep time.Duration
	if k := l.image.Spec.KeepOnFailure; f.machine && k != nil {
		keep = max(0, k.Duration)
	}
	var message, kept string
	err := r.goOn(ctx, l, func(st *v1alpha1.MachineImageStatus) {
		b := st.Build
		message = fmt.Sprintf("image %s: %s", l.wanted, f.message)
		b.Phase, b.EndedAt, b.FailedLine, b.KeptUntil = v1alpha1.BuildFailed, &now, int32(f.line), nil //nolint:gosec // a script has at most 256 Ki lines
		b.Failures++
		if f.output != "" {
			b.Output = f.output
		}
		pause := max(backoff(int(b.Failures), r.Times), keep)
		b.RetryAt = &metav1.Time{Time: now.Add(pause)}
		if keep > 0 {
			b.KeptUntil = &metav1.Time{Time: now.Add(keep)}
			kept = fmt.Sprintf("machine %s is kept until %s to look at: Secret %s of namespace %s says how it is entered",
				b.Machine, b.KeptUntil.UTC().Format(time.RFC3339), pools.LoginSecret(b.Machine), r.Namespace)
			message += keptMark + strings.TrimPrefix(kept, "machine ")
		} else {
			b.Machine = ""
		}
		built(l.image, st, false, f.reason, message)
	})
	if err != nil {
		return err
	}
	r.meters.failed(l.image.Name, f.reason)
	r.Log.Warn("build failed", "image", l.image.Name, "name", l.wanted, "reason", f.reason, "message", f.message)
	r.event(l.image, warning, "BuildFailed", f.reason+": "+message)
	if kept != "" {
		r.event(l.image, normal, "MachineKept", kept)
	}
	return nil
}

// backoff is the pause after so many failures one after another.
func backoff(failures int, t Times) time.Duration {
	d := t.Retry
	for range failures - 1 {
		if d *= 2; d >= t.RetryMost {
			return t.RetryMost
		}
	}
	return d
}
