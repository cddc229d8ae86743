package doctor

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"outrigger.dev/outrigger/internal/cli/app"
	"outrigger.dev/outrigger/internal/cli/progress"
	"outrigger.dev/outrigger/internal/doctor"
	"outrigger.dev/outrigger/internal/doctor/look"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// How long the parts of a Pod's life may take.
const (
	podStart  = 2 * time.Minute // until its container runs: the image may have to be pulled
	podLook   = 500 * time.Millisecond
	podEnd    = 15 * time.Second // for the deletion, which goes on after a signal
	podLife   = 10 * time.Minute // should we be killed, its processes end then
	logAgain  = 3                // a log that breaks is read again
	linesMost = 1 << 20          // bytes of one line
)

// inCluster has a Pod look at the same, and compares.
func (v *visit) inCluster(ctx context.Context, subjects []look.Subject, why string) {
	display := v.app.Display()
	defer display.Close()
	display.Phase(progress.Create, "a Pod in namespace "+v.o.podNamespace())
	err := v.fromPod(ctx, subjects, why)
	display.Close()
	if ctx.Err() != nil {
		return
	}
	v.out.rest()
	if err != nil {
		v.out.add(failure(doctor.Result{Subject: "Pod in namespace " + v.o.podNamespace(), Check: "pod"}, err))
		v.out.rest()
		return
	}
	for _, d := range doctor.Beside(v.out.here, v.out.pod, v.cluster(ctx)) {
		v.out.differs(d)
	}
}

// fromPod makes the Pod, reads what it finds, and deletes it whatever happens.
func (v *visit) fromPod(ctx context.Context, subjects []look.Subject, why string) (err error) {
	image, err := v.podImage(ctx)
	if err != nil {
		return err
	}
	p := v.patient
	if v.o.podNamespace() != v.o.Namespace {
		p.KeptBack = "tokens and logins stay in namespace " + v.o.Namespace
	}
	order, err := p.Order(subjects, why)
	if err != nil {
		return err
	}
	v.sweep(ctx)
	pod := podOf(string(machine.NewName(podName)), v.o.podNamespace(), image)
	secret, err := secretOf(pod, order)
	if err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), podEnd)
		defer cancel()
		derr := v.kube.DeletePod(end, pod.Namespace, pod.Name, pod.UID)
		if serr := v.kube.DeleteSecret(end, secret.Namespace, secret.Name); derr == nil {
			derr = serr
		}
		if derr != nil && err == nil {
			err = fault.New(fault.Of(derr), "%w", derr).WithRemedy("Delete it by hand: kubectl -n %s delete pod,secret %s", pod.Namespace, pod.Name)
		}
	}()
	if err := v.kube.CreatePod(ctx, pod); err != nil {
		return rights(err)
	}
	own(secret, pod)
	if err := v.kube.CreateSecret(ctx, secret); err != nil {
		return rights(err)
	}
	if err := v.running(ctx, pod); err != nil {
		return err
	}
	return v.read(ctx, pod)
}

// podImage is the image of the CLI: that which was named, or the one beside the controller's.
func (v *visit) podImage(ctx context.Context) (string, error) {
	if v.o.PodImage != "" {
		return v.o.PodImage, nil
	}
	all, err := v.kube.Deployments(ctx, v.o.Namespace, controllers)
	if err != nil {
		return "", rights(err)
	}
	for _, d := range all {
		for _, c := range d.Spec.Template.Spec.Containers {
			if image, ok := cliBeside(c.Image); ok {
				return image, nil
			}
		}
	}
	return "", fault.New(fault.Usage, "doctor: --in-cluster: no Deployment in namespace %s says which image the CLI has there", v.o.Namespace).
		WithRemedy("Name it with --pod-image REGISTRY/cli:TAG, or say with --namespace where the controller is.")
}

// cliBeside is the CLI's image in the registry, and of the version, of the controller's.
func cliBeside(controller string) (string, bool) {
	if strings.Contains(controller, "@") {
		return "", false // a digest is the controller's alone
	}
	dir, tag, ok := strings.Cut(controller, "/controller:")
	if !ok || strings.Contains(tag, "/") {
		return "", false
	}
	return dir + "/cli:" + tag, true
}

// sweep deletes Pods that doctors have left who were killed.
func (v *visit) sweep(ctx context.Context) {
	all, err := v.kube.Pods(ctx, v.o.podNamespace(), podLabels)
	if err != nil {
		return // the next one sweeps
	}
	for _, p := range all {
		if v.app.IO.Now().Sub(p.CreationTimestamp.Time) > podLife {
			_ = v.kube.DeletePod(ctx, p.Namespace, p.Name, p.UID) // likewise
		}
	}
}

// running waits until the Pod's container runs or has ended.
func (v *visit) running(ctx context.Context, pod *corev1.Pod) error {
	limit, cancel := context.WithTimeout(ctx, podStart)
	defer cancel()
	last := "it is not scheduled yet"
	for {
		now, err := v.kube.Pod(limit, pod.Namespace, pod.Name)
		switch {
		case limit.Err() != nil:
		case err != nil:
			return err
		case now == nil:
			return fault.New(fault.Interrupted, "Pod %s/%s: was deleted before it had looked", pod.Namespace, pod.Name)
		default:
			state, done, err := stateOf(now)
			if done || err != nil {
				return err
			}
			last = state
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-limit.Done():
			return fault.New(fault.NoCapacity, "Pod %s/%s: does not run after %s: %s", pod.Namespace, pod.Name, podStart, last).
				WithRemedy("Look at the cluster's nodes and quotas: kubectl describe namespace %s", pod.Namespace)
		case <-time.After(podLook):
		}
	}
}

// stateOf says what a Pod waits for; done when its log can be read. An error is of what will not
// come right by itself.
func stateOf(p *corev1.Pod) (waits string, done bool, err error) {
	if p.Status.Phase == corev1.PodFailed && len(p.Status.ContainerStatuses) == 0 {
		return "", false, fault.New(fault.NoCapacity, "Pod %s/%s: %s: %s", p.Namespace, p.Name, p.Status.Reason, p.Status.Message)
	}
	for _, c := range p.Status.ContainerStatuses {
		switch w := c.State.Waiting; {
		case w == nil:
			return "", true, nil
		case w.Reason == "ImagePullBackOff", w.Reason == "ErrImageNeverPull", w.Reason == "InvalidImageName":
			return "", false, fault.New(fault.UnknownImage, "Pod %s/%s: image %s: %s: %s", p.Namespace, p.Name, p.Spec.Containers[0].Image, w.Reason, w.Message).
				WithRemedy("Name an image of the CLI that the nodes can pull: --pod-image REGISTRY/cli:TAG")
		case w.Reason == "CreateContainerConfigError", w.Reason == "CreateContainerError", w.Reason == "RunContainerError":
			return "", false, fault.New(fault.ProviderRefused, "Pod %s/%s: %s: %s", p.Namespace, p.Name, w.Reason, w.Message)
		default:
			waits = join(w.Reason, w.Message)
		}
	}
	if waits != "" {
		return waits, false, nil
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return join(c.Reason, c.Message), false, nil
		}
	}
	return "its node has not begun it", false, nil
}

func join(a, b string) string {
	if b == "" {
		return a
	}
	return a + ": " + b
}

// read takes the results from the Pod's log as they come. A log that breaks is read again from
// its beginning; what was there is known.
func (v *visit) read(ctx context.Context, pod *corev1.Pod) error {
	seen := 0
	var last error
	for range logAgain {
		stream, err := v.kube.Log(ctx, pod.Namespace, pod.Name, podContainer)
		if err != nil {
			return rights(err)
		}
		n, whole, words := v.lines(stream, seen)
		stream.Close()
		if whole || ctx.Err() != nil {
			return nil
		}
		seen = max(seen, n)
		last = fault.New(fault.Protocol, "Pod %s/%s: ended without a result: %s", pod.Namespace, pod.Name, words).
			WithRemedy("Its image is to be of this program's version: --pod-image REGISTRY/cli:TAG")
	}
	return last
}

// lines reads results, and skips those that were seen. whole tells that the end was among them.
func (v *visit) lines(r io.Reader, seen int) (n int, whole bool, words string) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, linesMost)
	words = "it wrote nothing"
	for in.Scan() {
		var l Line
		if err := json.Unmarshal(in.Bytes(), &l); err != nil || l.Event == "" {
			words = fmt.Sprintf("%.300q", in.Text())
			continue
		}
		if l.Event == "end" {
			return n, true, ""
		}
		if n++; n > seen && l.Event == "check" && l.Result != nil {
			v.out.fromPod(*l.Result)
		}
	}
	return n, false, words
}

// carry is what runs in the Pod.
func carry(ctx context.Context, a *app.App, file string) error {
	order, err := readOrder(file)
	if err != nil {
		return err
	}
	dir, done, err := tempDir()
	if err != nil {
		return err
	}
	defer done()
	p, subjects, err := order.Carry(a.IO.Now, a.Log(), dir)
	if err != nil {
		return err
	}
	out := newSheet(a, p)
	out.from = "pod"
	p.Place(ctx, out.add)
	p.Machines(ctx, subjects, out.add)
	if len(subjects) == 0 {
		p.NoMachine(order.Why, out.add)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return out.end()
}
