package images

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/control/pools"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/imagebuild"
	"outrigger.dev/outrigger/internal/provider"
)

// A look is what is known of one image.
type look struct {
	image *v1alpha1.MachineImage // nil: gone
	claim *v1alpha1.MachineClaim // nil: there is none
	held  bool                   // the build's machine is not given back yet

	pool   *v1alpha1.MachinePool // nil: there is none
	place  pools.Place
	store  provider.ImageStore
	saver  provider.ImageSaver
	stored map[string]provider.Image // what the provider has

	recipe imagebuild.Recipe
	wanted string

	trouble *trouble // what keeps it from being built, whatever its claim does
}

// A trouble is why nothing can be built, for people.
type trouble struct {
	reason, message string
	passing         bool // nothing of ours has to change: somebody did not answer
}

// claimName is the name of the claim with which images of an object are built. There is one name for
// each object: so it never has two machines.
func claimName(image string) string { return "image-" + image }

// look finds out how an image stands. An error is the API server's.
func (r *reconciler) look(ctx context.Context, name string) (*look, error) {
	l := &look{image: &v1alpha1.MachineImage{}}
	switch err := r.live.Get(ctx, client.ObjectKey{Name: name}, l.image); {
	case apierrors.IsNotFound(err):
		l.image = nil
		return l, nil
	case err != nil:
		return l, err
	}
	if err := r.lookAtClaim(ctx, l); err != nil {
		return l, err
	}
	if err := r.lookAtPool(ctx, l); err != nil || l.trouble != nil {
		return l, err
	}
	return l, r.lookAtInputs(ctx, l)
}

func (r *reconciler) lookAtClaim(ctx context.Context, l *look) error {
	l.claim = &v1alpha1.MachineClaim{}
	err := r.live.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: claimName(l.image.Name)}, l.claim)
	if apierrors.IsNotFound(err) {
		l.claim, err = nil, nil
	}
	b := l.image.Status.Build
	if err != nil || b == nil || b.Machine == "" {
		return err
	}
	var m v1alpha1.Machine
	err = r.live.Get(ctx, client.ObjectKey{Name: b.Machine}, &m)
	l.held = err == nil && (m.Status.Phase == v1alpha1.MachineIdle || m.Status.Phase == v1alpha1.MachineLeased)
	return client.IgnoreNotFound(err)
}

// lookAtPool opens the pool's provider and asks which images it has.
func (r *reconciler) lookAtPool(ctx context.Context, l *look) error {
	l.pool = &v1alpha1.MachinePool{}
	err := r.live.Get(ctx, client.ObjectKey{Name: l.image.Spec.Pool}, l.pool)
	if apierrors.IsNotFound(err) {
		l.pool = nil
		l.trouble = &trouble{reason: v1alpha1.ReasonImageNoPool, message: "there is no MachinePool " + l.image.Spec.Pool}
		return nil
	}
	if err != nil {
		return err
	}
	l.place, err = pools.OpenPlace(ctx, r.live, r.Namespace, r.Places, l.pool)
	if isAPI(err) {
		return err
	}
	if err == nil {
		var stores, saves bool
		l.store, stores = provider.As[provider.ImageStore](l.place.Provider)
		l.saver, saves = provider.As[provider.ImageSaver](l.place.Provider)
		if !stores || !saves {
			l.trouble = &trouble{reason: v1alpha1.ReasonImageUnsupported, message: "the provider of pool " + l.pool.Name + " keeps no images: orka and qemu do"}
			return nil
		}
		err = l.list(ctx)
	}
	if err != nil && ctx.Err() == nil {
		l.trouble = troubleOf(err)
		return nil
	}
	return err
}

// listLimit bounds the question which images there are.
const listLimit = time.Minute

func (l *look) list(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, listLimit)
	defer cancel()
	all, err := l.store.Images(ctx)
	if err != nil {
		return err
	}
	l.stored = make(map[string]provider.Image, len(all))
	for _, i := range all {
		l.stored[i.Name] = i
	}
	return nil
}

func troubleOf(err error) *trouble {
	kind := fault.Of(err)
	if kind == fault.Internal { // the provider gave no kind: it did not answer as it should
		kind = fault.ProviderDown
	}
	return &trouble{reason: string(kind), message: err.Error(), passing: fault.Lookup(kind).Retry}
}

// isAPI tells an error of the API server, which is not told to people but tried again.
func isAPI(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status)
}

func (r *reconciler) lookAtInputs(ctx context.Context, l *look) error {
	recipe, missing, err := r.recipe(ctx, l.image)
	switch {
	case err != nil:
		return err
	case missing != "" && l.image.Spec.Use == "":
		l.trouble = &trouble{reason: v1alpha1.ReasonImageNoInput, message: missing}
		return nil
	}
	recipe.BaseID = l.baseID()
	l.recipe, l.wanted = recipe, recipe.Name(l.image.Name)
	if l.image.Spec.Use != "" {
		l.wanted = l.image.Spec.Use
	}
	return nil
}

// baseID tells the base from others of its name. One that is no longer there is taken for the last that was: what
// was built of it is still what is asked for.
func (l *look) baseID() string {
	if have, ok := l.stored[l.image.Spec.Base]; ok {
		return imagebuild.BaseID(have)
	}
	name, id, _ := strings.Cut(l.image.Status.BaseID, "@")
	if name != l.image.Spec.Base {
		return ""
	}
	return id
}

// snapshot puts it into the decider's words.
func (l *look) snapshot(now time.Time) Snapshot {
	i := l.image
	s := Snapshot{
		Now: now, Wanted: l.wanted, Pinned: i.Spec.Use != "", Current: i.Status.Image,
		Changed: i.Generation != i.Status.ObservedGeneration, Claim: l.claimed(), Held: l.held,
	}
	if i.Status.Build != nil {
		s.Build = *i.Status.Build
	}
	if have, ok := l.stored[l.wanted]; ok {
		s.Stored = map[provider.ImageState]Stored{"": There, provider.ImageSaving: Saving, provider.ImageFailed: Broken}[have.State]
	}
	return s
}

func (l *look) claimed() Claim {
	c := l.claim
	if c == nil {
		return Claim{}
	}
	out := Claim{
		UID: string(c.UID), Builds: c.Annotations[v1alpha1.AnnotationBuilds], Leaving: !c.DeletionTimestamp.IsZero(), Phase: c.Status.Phase,
		Ours: slices.ContainsFunc(c.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == l.image.UID }),
	}
	if x := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ClaimConditionBound); x != nil {
		out.Reason, out.Message = x.Reason, x.Message
		out.Lost = c.Status.Phase == v1alpha1.ClaimBound && x.Status == metav1.ConditionFalse
	}
	return out
}
