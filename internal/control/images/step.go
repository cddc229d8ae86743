package images

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/fault"
)

// A next says when to look at an image again.
type next struct {
	after time.Duration // 0: when something happens
	now   bool          // at once: a step was taken
}

// step takes the next step.
func (r *reconciler) step(ctx context.Context, l *look) (next, error) {
	i := l.image
	if !i.DeletionTimestamp.IsZero() {
		return r.end(ctx, l)
	}
	if !controllerutil.ContainsFinalizer(i, v1alpha1.FinalizerImage) {
		controllerutil.AddFinalizer(i, v1alpha1.FinalizerImage)
		return next{now: true}, r.client.Update(ctx, i)
	}
	if l.trouble != nil {
		return r.hindered(ctx, l)
	}
	if b := i.Status.Build; l.claim == nil && b != nil && b.KeptUntil != nil { // somebody has looked, and given it back
		return next{now: true}, r.notKept(ctx, l)
	}
	s := Decide(l.snapshot(r.now()))
	switch s.Do {
	case Settle:
		return r.settle(ctx, l)
	case Remove:
		r.Log.Info("image that was not saved is deleted", "image", i.Name, "name", l.wanted)
		if err := l.store.DeleteImage(ctx, l.wanted); err != nil && !fault.Is(err, fault.UnknownImage) {
			l.trouble = troubleOf(err)
			return r.hindered(ctx, l)
		}
		return next{now: true}, nil
	case Order:
		return next{now: true}, r.order(ctx, l)
	case Adopt:
		return next{now: true}, r.adopt(ctx, l)
	case Begin:
		return next{now: true}, r.build(ctx, l)
	case Drop:
		return next{now: true}, r.drop(ctx, l, s)
	case Fail:
		return next{now: true}, r.fail(ctx, l, failure{reason: s.Reason, message: s.Message})
	}
	return r.wait(ctx, l, s)
}

// hindered says what keeps the image from being built, and tries again later. A machine is not held meanwhile, but one
// that is kept to be looked at, or if all that is missing is an answer.
func (r *reconciler) hindered(ctx context.Context, l *look) (next, error) {
	if l.trouble.passing && meta.IsStatusConditionTrue(l.image.Status.Conditions, v1alpha1.ImageBuilt) && l.image.Generation == l.image.Status.ObservedGeneration {
		return next{after: r.Times.Inputs}, nil // nothing is to be built, and the image serves
	}
	kept := l.image.Status.Build != nil && l.image.Status.Build.KeptUntil != nil
	if l.claim != nil && l.claim.DeletionTimestamp.IsZero() && !kept && !l.trouble.passing {
		if err := r.drop(ctx, l, Step{Reason: whyOver}); err != nil {
			return next{}, err
		}
	}
	n, err := r.wait(ctx, l, Step{Do: Wait, Reason: l.trouble.reason, Message: l.trouble.message})
	n.after = min(n.after, r.Times.Inputs)
	return n, err
}

// wait says what is waited for, if there is something to say.
func (r *reconciler) wait(ctx context.Context, l *look, s Step) (next, error) {
	if s.Reason != "" {
		if _, err := r.setStatus(ctx, l, func(st *v1alpha1.MachineImageStatus) { built(l.image, st, false, s.Reason, s.Message) }); err != nil {
			return next{}, err
		}
	}
	n := next{after: r.Times.Look}
	if hasSecrets(l.image) {
		n.after = min(n.after, r.Times.Inputs)
	}
	if !s.Again.IsZero() {
		n.after = min(n.after, max(time.Millisecond, s.Again.Sub(r.now())))
	}
	return n, nil
}

// order makes the claim for a build.
func (r *reconciler) order(ctx context.Context, l *look) error {
	i := l.image
	c := &v1alpha1.MachineClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: r.Namespace, Name: claimName(i.Name),
			Labels:      map[string]string{v1alpha1.LabelPool: i.Spec.Pool, v1alpha1.LabelImage: i.Name},
			Annotations: map[string]string{v1alpha1.AnnotationBuilds: l.wanted},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: "MachineImage", Name: i.Name, UID: i.UID,
			}},
		},
		// Fresh: what others have done to a machine must not get into the image.
		Spec: v1alpha1.MachineClaimSpec{Pool: i.Spec.Pool, Image: i.Spec.Base, Fresh: true},
	}
	if err := r.client.Create(ctx, c); err != nil {
		return err
	}
	l.claim = c
	return r.adopt(ctx, l)
}

// adopt writes down that a claim is for the build.
func (r *reconciler) adopt(ctx context.Context, l *look) error {
	note := fmt.Sprintf("image %s waits for a machine of pool %s", l.wanted, l.image.Spec.Pool)
	_, err := r.setStatus(ctx, l, func(st *v1alpha1.MachineImageStatus) {
		b := &v1alpha1.ImageBuild{
			Image: l.wanted, Claim: l.claim.Name, ClaimUID: string(l.claim.UID), Phase: v1alpha1.BuildQueued, StartedAt: &l.claim.CreationTimestamp,
		}
		if old := st.Build; old != nil && old.Image == b.Image && l.image.Generation == st.ObservedGeneration {
			b.Failures = old.Failures
		}
		st.Build = b
		built(l.image, st, false, v1alpha1.ReasonImageQueued, note)
	})
	if err != nil {
		return err
	}
	r.Log.Info("build ordered", "image", l.image.Name, "name", l.wanted, "pool", l.image.Spec.Pool, "claim", l.claim.Name)
	r.event(l.image, normal, "BuildQueued", note)
	return nil
}

// drop deletes the claim, and so gives its machine back.
func (r *reconciler) drop(ctx context.Context, l *look, s Step) error {
	uid := l.claim.UID
	if err := client.IgnoreNotFound(r.client.Delete(ctx, l.claim, client.Preconditions{UID: &uid})); err != nil {
		return err
	}
	r.Log.Info("build's claim deleted", "image", l.image.Name, "claim", l.claim.Name, "reason", s.Reason)
	if s.Reason != whyOver {
		r.event(l.image, warning, s.Reason, s.Message)
	}
	if b := l.image.Status.Build; b == nil || b.KeptUntil == nil {
		return nil
	}
	return r.notKept(ctx, l)
}

// notKept writes down that a failed build's machine is given back.
func (r *reconciler) notKept(ctx context.Context, l *look) error {
	_, err := r.setStatus(ctx, l, func(st *v1alpha1.MachineImageStatus) {
		st.Build.Machine, st.Build.KeptUntil = "", nil
		if c := meta.FindStatusCondition(st.Conditions, v1alpha1.ImageBuilt); c != nil {
			message, _, _ := strings.Cut(c.Message, keptMark)
			built(l.image, st, false, c.Reason, message)
		}
	})
	return err
}

// settle lets pools use the wanted image, which is there, and sees to the former ones.
func (r *reconciler) settle(ctx context.Context, l *look) (next, error) {
	pinned, before := l.image.Spec.Use != "", l.image.Status.Image
	have := l.stored[l.wanted]
	changed, err := r.setStatus(ctx, l, func(st *v1alpha1.MachineImageStatus) {
		reason, message := v1alpha1.ReasonImageExists, "image "+l.wanted+" existed already"
		if b := st.Build; b != nil && b.Image == l.wanted && b.Phase == v1alpha1.BuildSaving { // an answer that was lost
			r.done(b)
		}
		if st.Build != nil {
			st.Build.Machine = ""
		}
		if b := st.Build; b != nil && b.Image == l.wanted && b.Phase == v1alpha1.BuildDone {
			reason, message = v1alpha1.ReasonImageBuilt, "image "+l.wanted+" was built"
		} else if b != nil && b.Phase != v1alpha1.BuildDone { // what it was for is over
			st.Build = nil
		}
		if pinned {
			reason, message = v1alpha1.ReasonImagePinned, "spec.use names image "+l.wanted
		} else {
			st.Images = front(st.Images, r.described(l.image, l.wanted, have))
		}
		st.Image = l.wanted
		built(l.image, st, true, reason, message)
	})
	if err != nil {
		return next{}, err
	}
	if changed {
		if l.wanted != before {
			note := fmt.Sprintf("pools make machines of image %s from now on", l.wanted)
			if before != "" {
				note += ", before of " + before
			}
			r.Log.Info("image in use", "image", l.image.Name, "name", l.wanted, "before", before)
			r.event(l.image, normal, "ImageChanged", note)
		}
		return next{now: true}, nil
	}
	n, err := r.wait(ctx, l, Step{})
	if err != nil {
		return n, err
	}
	left, err := r.collect(ctx, l)
	if left {
		n.after = min(n.after, r.Times.Collect)
	}
	return n, err
}

// front puts an image before all others.
func front(all []v1alpha1.BuiltImage, first v1alpha1.BuiltImage) []v1alpha1.BuiltImage {
	out := []v1alpha1.BuiltImage{first}
	for _, i := range all {
		if i.Name == first.Name {
			out[0] = i // as it was written down when it was new
			continue
		}
		out = append(out, i)
	}
	return out
}

// done ends a build well.
func (r *reconciler) done(b *v1alpha1.ImageBuild) {
	now := metav1.NewTime(r.now())
	b.Phase, b.EndedAt, b.Failures, b.FailedLine, b.RetryAt, b.KeptUntil = v1alpha1.BuildDone, &now, 0, 0, nil, nil
}

// setStatus writes the image's status, if the image is as we saw it and the status changes; and tells whether it did.
func (r *reconciler) setStatus(ctx context.Context, l *look, change func(*v1alpha1.MachineImageStatus)) (changed bool, err error) {
	i := l.image.DeepCopy()
	change(&i.Status)
	i.Status.ObservedGeneration = i.Generation
	if l.wanted != "" {
		i.Status.Wanted, i.Status.BaseID = l.wanted, i.Spec.Base+"@"+l.recipe.BaseID
	}
	set(i, &i.Status, v1alpha1.ImageReady, i.Status.Image != "", readyReason(i.Status.Image), "")
	r.meters.state(i)
	if equality.Semantic.DeepEqual(i.Status, l.image.Status) {
		return false, nil
	}
	if err := r.client.Status().Update(ctx, i); err != nil {
		return false, err
	}
	l.image = i
	return true, nil
}

func readyReason(image string) string {
	if image == "" {
		return "NoImage"
	}
	return "Usable"
}

func built(i *v1alpha1.MachineImage, st *v1alpha1.MachineImageStatus, ok bool, reason, message string) {
	set(i, st, v1alpha1.ImageBuilt, ok, reason, message)
}

func set(i *v1alpha1.MachineImage, st *v1alpha1.MachineImageStatus, kind string, ok bool, reason, message string) {
	status := metav1.ConditionFalse
	if ok {
		status = metav1.ConditionTrue
	}
	meta.SetStatusCondition(&st.Conditions, metav1.Condition{
		Type: kind, Status: status, ObservedGeneration: i.Generation, Reason: reason, Message: clip(message),
	})
}
