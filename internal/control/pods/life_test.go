//go:build linux

package pods_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/control/pools"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/handoff"
	"outrigger.dev/outrigger/internal/machine"
)

// A Pod that waits says where it stands, first of all; and gives up its place when it is deleted.
func TestQueue(t *testing.T) {
	w := newWorld(t)
	w.control()
	w.makePool(0, 1)
	first := w.pod("first", nil)
	w.begins(first)
	second := w.pod("second", nil)
	w.eventually("the second is told", func() bool { return strings.Contains(condition(w.reload(second)).Message, "number 1 in the queue") })
	x := second.Status.Conditions[0]
	if x.Type != v1alpha1.PodMachineBound || x.Status != corev1.ConditionFalse || x.Reason != "PoolAtMax" || !strings.Contains(x.Message, "pool "+w.pool) {
		t.Errorf("the first condition is %+v; want that it waits, and why", x)
	}
	if len(second.Status.Conditions) < 2 || second.Status.Conditions[1].Reason != corev1.PodReasonSchedulingGated {
		t.Errorf("other conditions are %+v; want that of the gate as it was", second.Status.Conditions[1:])
	}
	w.hears(second, "Waiting", "1 of 1 in the queue")
	third := w.pod("third", nil)
	w.eventually("the third waits", func() bool { return w.claim(third) != nil && w.claim(third).Status.Position > 0 })

	w.must(w.Client.Delete(w.Context(), second))
	w.eventually("the second is out of the queue", func() bool { return w.claim(second) == nil })
	w.ends(first, "build=0")
	w.begins(third)
	w.eventually("the third says that it has its machine", func() bool {
		x := condition(w.reload(third))
		return x.Status == corev1.ConditionTrue && x.Reason == "Bound"
	})
}

// A Pod that is deleted has its machine until its containers have ended.
func TestGracePeriod(t *testing.T) {
	w := newWorld(t)
	w.control()
	w.makePool(0, 1)
	pod := w.pod("job", nil)
	w.begins(pod)
	w.must(w.Client.Delete(w.Context(), pod, client.GracePeriodSeconds(60)))
	next := w.pod("next", nil)
	w.eventually("the next waits", func() bool { return strings.Contains(condition(w.reload(next)).Message, "number 1") })
	if got := w.phase(pod); got != v1alpha1.ClaimBound {
		t.Fatalf("the claim is %s while the Pod ends", got)
	}
	w.ends(pod, "build=143")
	w.becomes(pod, v1alpha1.ClaimReleased)
	w.remove(pod)
	w.eventually("the claim is gone", func() bool { return w.claim(pod) == nil })
	w.begins(next)
}

// One that is deleted by force releases at once.
func TestForce(t *testing.T) {
	w := newWorld(t)
	w.control()
	w.makePool(0, 1)
	pod := w.pod("job", nil)
	w.begins(pod)
	w.remove(pod)
	w.eventually("the claim is gone", func() bool { return w.claim(pod) == nil })
	w.eventually("the machine is free", func() bool { return w.held() == 0 })
	if s := w.secret(pod); s != nil {
		t.Errorf("the Secret is still there: %+v", s)
	}
}

// An evicted Pod has no word of its containers.
func TestEvicted(t *testing.T) {
	w := newWorld(t)
	w.control()
	w.makePool(0, 1)
	pod := w.pod("job", nil)
	w.begins(pod)
	w.status(pod, func(st *corev1.PodStatus) { st.Phase, st.Reason = corev1.PodFailed, "Evicted" })
	w.becomes(pod, v1alpha1.ClaimReleased)
	if x := claimCondition(w.claim(pod), v1alpha1.ClaimConditionReleased); x.Reason != "PodFailed" || x.Message != "the Pod failed: Evicted" {
		t.Errorf("the claim says %+v", x)
	}
}

// A container that the kubelet starts again is not at its end.
func TestRestarts(t *testing.T) {
	w := newWorld(t)
	w.control()
	w.makePool(0, 1)
	pod := w.pod("job", func(p *corev1.Pod) { p.Spec.RestartPolicy = corev1.RestartPolicyOnFailure })
	w.begins(pod)
	w.ends(pod, "build=1")
	next := w.pod("next", nil)
	w.eventually("the next waits", func() bool { return strings.Contains(condition(w.reload(next)).Message, "number 1") })
	if got := w.phase(pod); got != v1alpha1.ClaimBound {
		t.Fatalf("the claim is %s while the container is started again", got)
	}
	w.status(pod, func(st *corev1.PodStatus) { st.ContainerStatuses[0].State.Terminated.ExitCode = 0 })
	w.becomes(pod, v1alpha1.ClaimReleased)
}

// A machine is kept after a failure for as long as was asked, or until the Pod is deleted.
func TestKeep(t *testing.T) {
	w := newWorld(t)
	w.control()
	w.makePool(0, 2)
	keep := func(d string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Annotations[v1alpha1.AnnotationKeep] = d }
	}
	short, long := w.pod("short", keep("3s")), w.pod("long", keep("1h"))
	for _, pod := range []*corev1.Pod{short, long} {
		w.begins(pod)
		w.ends(pod, "build=3")
		w.hears(pod, "MachineKept", "container build ended with exit code 3; machine "+pod.Annotations[v1alpha1.AnnotationMachine]+" is kept until ")
		if got := w.phase(pod); got != v1alpha1.ClaimBound && got != v1alpha1.ClaimReleased {
			t.Errorf("the claim of %s is %s", pod.Name, got)
		}
	}
	w.becomes(short, v1alpha1.ClaimReleased)
	if x := claimCondition(w.claim(short), v1alpha1.ClaimConditionReleased); x.Reason != "Kept" || !strings.Contains(x.Message, "the machine was kept for 3s") {
		t.Errorf("the claim says %+v", x)
	}
	if got := w.phase(long); got != v1alpha1.ClaimBound || w.secret(long) == nil {
		t.Errorf("the claim that is kept for an hour is %s", got)
	}
	w.remove(long)
	w.eventually("the other is given back too", func() bool { return w.claim(long) == nil })

	fine := w.pod("fine", keep("1h"))
	w.begins(fine)
	w.ends(fine, "build=0")
	w.becomes(fine, v1alpha1.ClaimReleased)
}

// A Pod made again under its name, and with its labels, gets a claim of its own.
func TestNamesReused(t *testing.T) {
	w := newWorld(t)
	w.control()
	w.makePool(0, 2)
	old := w.pod("web-0", nil)
	w.begins(old)
	first, machine := w.claim(old), old.Annotations[v1alpha1.AnnotationMachine]

	again := w.marked("web-0", nil)
	again.Labels, again.Spec.Volumes = old.Labels, old.Spec.Volumes
	w.remove(old)
	w.must(w.Create(w.Context(), again))
	w.begins(again)
	second := w.claim(again)
	if first.UID == second.UID || second.Spec.Holder.UID != string(again.UID) || again.Annotations[v1alpha1.AnnotationMachine] == machine {
		t.Errorf("claim %s of %v on %s; want another than %s on %s", second.UID, second.Spec.Holder, again.Annotations[v1alpha1.AnnotationMachine], first.UID, machine)
	}
	if s := w.secret(again); s == nil || string(s.Machine) != second.Status.Machine {
		t.Errorf("the Secret is of %+v; want %s", s, second.Status.Machine)
	}
}

// Of two Pods that name one claim the second is told, and served when the first is gone.
func TestClaimTaken(t *testing.T) {
	w := newWorld(t)
	w.control()
	w.makePool(0, 2)
	one := w.pod("one", nil)
	w.begins(one)
	two := w.marked("two", nil)
	two.Labels, two.Spec.Volumes = one.Labels, one.Spec.Volumes
	w.must(w.Create(w.Context(), two))
	w.hears(two, "ClaimTaken", "held by Pod one")
	if x := condition(w.reload(two)); x.Reason != "ClaimTaken" || !isGated(two) {
		t.Errorf("the second Pod says %+v, gated: %t", x, isGated(two))
	}
	w.remove(one)
	w.begins(two)
	if h := w.claim(two).Spec.Holder; h.UID != string(two.UID) {
		t.Errorf("the claim is held by %v", h)
	}
}

// A claim that somebody deletes is made again while its Pod waits, and not once it runs.
func TestClaimDeleted(t *testing.T) {
	w := newWorld(t)
	w.control()
	w.makePool(0, 1)
	one := w.pod("one", nil)
	w.begins(one)
	two := w.pod("two", nil)
	w.eventually("the second waits", func() bool { return w.phase(two) == v1alpha1.ClaimQueued })
	uid := w.claim(two).UID
	w.must(w.Client.Delete(w.Context(), w.claim(two)))
	w.eventually("it has another claim", func() bool { c := w.claim(two); return c != nil && c.UID != uid })
	w.must(w.Client.Delete(w.Context(), w.claim(one)))
	w.hears(one, "ClaimDeleted", "given back")
	w.begins(two)
	if c := w.claim(one); c != nil {
		t.Errorf("the running Pod has a new claim: %+v", c.Status)
	}
}

// A machine whose login is gone before anything ran there is not the Pod's problem.
func TestMachineLostAtHandOver(t *testing.T) {
	w := newWorld(t)
	w.control()
	w.makePool(1, 2)
	w.warm()
	lost := w.machines()[0].Name
	w.must(w.Client.Delete(w.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.home(), Name: pools.LoginSecret(lost)}}))
	pod := w.pod("job", nil)
	w.begins(pod)
	if got := pod.Annotations[v1alpha1.AnnotationMachine]; got == lost || got == "" {
		t.Errorf("the Pod got machine %q; want another than %s", got, lost)
	}
	w.hears(pod, "MachineLost", "gets another one")
}

// What a controller believes that does not know that it no longer leads: that a claim has a machine
// which has gone on to another. Its login is not handed over.
func TestMachineOfAnother(t *testing.T) {
	w := newWorld(t)
	stop := w.control()
	w.makePool(0, 2)
	one := w.pod("one", nil)
	w.begins(one)
	stop()
	two := w.pod("two", nil)
	c := &v1alpha1.MachineClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.pool, Name: two.Labels[v1alpha1.LabelClaim]},
		Spec:       v1alpha1.MachineClaimSpec{Pool: w.pool, Holder: &v1alpha1.Holder{Kind: "Pod", Name: two.Name, UID: string(two.UID)}},
	}
	w.must(w.Create(w.Context(), c))
	c.Status.Phase, c.Status.Machine = v1alpha1.ClaimBound, one.Annotations[v1alpha1.AnnotationMachine]
	w.must(w.Status().Update(w.Context(), c))
	w.control()
	w.begins(two)
	if s := w.secret(two); s == nil || s.Machine == w.secret(one).Machine || string(s.Machine) != two.Annotations[v1alpha1.AnnotationMachine] {
		t.Errorf("the second Pod may reach %+v; want a machine other than the first one's, %s", s, c.Status.Machine)
	}
}

// A claim that will never be served ends its Pod, with a reason that people see; but not
// one that would be made again at once.
func TestUnknownImage(t *testing.T) {
	w := newWorld(t)
	w.cloud.Faults.AtCreate = func(s machine.Spec) error {
		if s.Image != "" {
			return fault.New(fault.UnknownImage, "cloud: no image %s", s.Image)
		}
		return nil
	}
	w.control()
	w.makePool(0, 2)
	image := func(p *corev1.Pod) { p.Annotations[v1alpha1.AnnotationImage] = "xcode-99" }
	job := w.pod("job", image)
	w.eventually("the job has failed", func() bool { return w.reload(job).Status.Phase == corev1.PodFailed })
	if st := job.Status; st.Reason != "OutriggerUnknownImage" || st.Message != "cloud: no image xcode-99" {
		t.Errorf("it says %q: %q", st.Reason, st.Message)
	}
	w.hears(job, "UnknownImage", "no image xcode-99")
	if got := w.phase(job); got != v1alpha1.ClaimFailed {
		t.Errorf("its claim is %s", got)
	}
	service := w.pod("service", func(p *corev1.Pod) {
		image(p)
		p.Spec.RestartPolicy = corev1.RestartPolicyAlways
	})
	w.hears(service, "UnknownImage", "no image xcode-99")
	if x := condition(w.reload(service)); service.Status.Phase != corev1.PodPending || x.Reason != "UnknownImage" {
		t.Errorf("the service is %s and says %+v; want it to wait and say why", service.Status.Phase, x)
	}
	w.remove(service)
	w.eventually("the claim is gone", func() bool { return w.claim(service) == nil })
}

// Annotations can be changed after the webhook has looked: what it would refuse is refused.
func TestBadRequest(t *testing.T) {
	w := newWorld(t)
	w.makePool(0, 1)
	p := &v1alpha1.MachinePool{}
	w.must(w.Get(w.Context(), client.ObjectKey{Name: w.pool}, p))
	p.Spec.AllowedNamespaces = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "a"}}
	w.must(w.Update(w.Context(), p))
	w.control()
	for name, tt := range map[string]struct{ request, want string }{
		"not-allowed": {fmt.Sprintf(`{"pool":%q}`, w.pool), "pool " + w.pool + " may not be used in namespace " + w.pool + ": its allowedNamespaces is team=a"},
		"no-json":     {`{"pool"`, "unexpected end of JSON input"},
		"no-pool":     {`{}`, "names no pool"},
		"not-valid":   {`{"pool":"elsewhere","resources":{"claims":[{"name":"x"},{"name":"x"}]}}`, "Duplicate value"},
	} {
		pod := w.marked(name, nil)
		pod.Annotations[v1alpha1.AnnotationRequest] = tt.request
		w.must(w.Create(w.Context(), pod))
		w.eventually(name+" has failed", func() bool { return w.reload(pod).Status.Phase == corev1.PodFailed })
		if pod.Status.Reason != "OutriggerBadRequest" || !strings.Contains(pod.Status.Message, tt.want) {
			t.Errorf("%s says %s: %q; want %q", name, pod.Status.Reason, pod.Status.Message, tt.want)
		}
		if c := w.claim(pod); c != nil {
			t.Errorf("%s has a claim", name)
		}
	}
}

// A quota is told to the Pod that waits for it.
func TestQuota(t *testing.T) {
	w := newWorld(t)
	w.control()
	w.makePool(0, 1)
	none := corev1.ResourceList{"count/machineclaims.outrigger.dev": resource.MustParse("0")}
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: w.pool, Name: "macs"}, Spec: corev1.ResourceQuotaSpec{Hard: none}}
	w.must(w.Create(w.Context(), q))
	q.Status = corev1.ResourceQuotaStatus{Hard: none, Used: none}
	w.must(w.Status().Update(w.Context(), q))
	pod := w.pod("job", nil)
	w.hears(pod, "ClaimRefused", "exceeded quota: macs")
	if x := condition(w.reload(pod)); x.Status != corev1.ConditionFalse || !strings.Contains(x.Message, "exceeded quota: macs") {
		t.Errorf("the Pod says %+v", x)
	}
}

// A Secret of the same name that is somebody else's stays as it is.
func TestSecretOfSomebodyElse(t *testing.T) {
	w := newWorld(t)
	w.makePool(0, 1)
	pod := w.pod("job", nil)
	theirs := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.pool, Name: "outrigger-" + pod.Labels[v1alpha1.LabelClaim]}}
	w.must(w.Create(w.Context(), theirs))
	w.control()
	w.hears(pod, "SecretRefused", "is not Outrigger's")
	w.remove(pod)
	w.eventually("the claim is gone", func() bool { return w.claim(pod) == nil })
	w.must(w.Get(w.Context(), client.ObjectKeyFromObject(theirs), theirs))
}

// What happened while no controller ran is found when one does.
func TestMissedEvents(t *testing.T) {
	w := newWorld(t)
	stop := w.control()
	w.makePool(0, 3)
	gone, unlabelled, done := w.pod("gone", nil), w.pod("unlabelled", nil), w.pod("done", nil)
	for _, pod := range []*corev1.Pod{gone, unlabelled, done} {
		w.begins(pod)
	}
	claim := w.claim(unlabelled)
	delete(w.reload(unlabelled).Labels, v1alpha1.LabelClaim)
	w.must(w.Update(w.Context(), unlabelled))
	stop()
	w.remove(gone)
	w.ends(done, "build=0")
	w.control()
	w.eventually("the claim of the Pod that is gone is too", func() bool { return w.claim(gone) == nil })
	w.becomes(done, v1alpha1.ClaimReleased)
	w.must(w.Get(w.Context(), client.ObjectKeyFromObject(claim), claim))
	if claim.Status.Phase != v1alpha1.ClaimBound {
		t.Errorf("the claim of a Pod that lost its label is %s", claim.Status.Phase)
	}
}

// Who may make Secrets makes the claim's beforehand, with all that is known of it, to have the Pod work elsewhere.
func TestSecretThatPretendsToBeOurs(t *testing.T) {
	w := newWorld(t)
	w.makePool(0, 0)
	w.control()
	pod := w.pod("job", nil)
	w.becomes(pod, v1alpha1.ClaimQueued)
	c := w.claim(pod)
	evil, err := json.Marshal(handoff.Claim{Version: handoff.Version, Machine: "evil"})
	w.must(err)
	planted := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.pool, Name: "outrigger-" + c.Name,
			Labels: map[string]string{v1alpha1.LabelClaim: c.Name, v1alpha1.LabelPool: w.pool},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: "MachineClaim", Name: c.Name, UID: c.UID,
			}},
		},
		Immutable: new(true),
		Data:      map[string][]byte{handoff.SecretKey: evil},
	}
	w.must(w.Create(w.Context(), planted))
	w.eventually("the pool may have a machine", func() bool {
		var p v1alpha1.MachinePool
		w.must(w.Get(w.Context(), client.ObjectKey{Name: w.pool}, &p))
		p.Spec.Max = 1
		return w.Update(w.Context(), &p) == nil
	})
	w.begins(pod)
	if s := w.secret(pod); s == nil || string(s.Machine) != pod.Annotations[v1alpha1.AnnotationMachine] || s.Key == "" {
		t.Errorf("the Pod is given %+v", s)
	}
}

// A Pod that no node takes gives its machine back, and says why; the next one gets it.
func TestPodThatIsNeverScheduled(t *testing.T) {
	w := newWorld(t)
	w.control()
	w.makePool(1, 1)
	w.eventually("the pool has its limit", func() bool {
		var p v1alpha1.MachinePool
		w.must(w.Get(w.Context(), client.ObjectKey{Name: w.pool}, &p))
		p.Spec.ScheduleTimeout = &metav1.Duration{Duration: 4 * time.Second}
		return w.Update(w.Context(), &p) == nil
	})
	pod := w.pod("job", nil)
	w.eventually("the gate is lifted", func() bool { return !isGated(w.reload(pod)) })
	w.status(pod, func(st *corev1.PodStatus) {
		st.Conditions = append(st.Conditions, corev1.PodCondition{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "0/3 nodes are available",
		})
	})
	w.hears(pod, "NotScheduled", "0/3 nodes are available")
	if st := w.reload(pod).Status; st.Phase != corev1.PodFailed || st.Reason != "OutriggerNotScheduled" {
		t.Errorf("the Pod is %s, %s", st.Phase, st.Reason)
	}
	w.becomes(pod, v1alpha1.ClaimReleased)
	next := w.pod("next", nil)
	w.eventually("the next one has a machine", func() bool { return !isGated(w.reload(next)) })
}

// A machine stays whose results did not all come back, as many as the pool allows.
func TestMachinesWithResultsAreKept(t *testing.T) {
	w := newWorld(t)
	w.control()
	w.makePool(0, 4) // of which one may be kept
	left := func(name string) *corev1.Pod {
		pod := w.pod(name, nil)
		w.begins(pod)
		w.status(pod, func(st *corev1.PodStatus) {
			st.ContainerStatuses = []corev1.ContainerStatus{{Name: "build", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
				ExitCode: 125, FinishedAt: metav1.Now(), Message: v1alpha1.ResultsLeft + ": out/app.zip; fetch it\n",
			}}}}
		})
		return pod
	}
	first := left("first")
	w.hears(first, "MachineKept", "out/app.zip; fetch it")
	second := left("second")
	w.becomes(second, v1alpha1.ClaimReleased)
	w.hears(second, "Released", "is not kept: the pool keeps 1 machines already")
	if w.phase(first) != v1alpha1.ClaimBound || w.secret(first) == nil {
		t.Errorf("the first is %s", w.phase(first))
	}
	w.remove(first)
	w.eventually("it is given back with its Pod", func() bool { return w.held() == 0 })
}
