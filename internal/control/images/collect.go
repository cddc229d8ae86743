package images

import (
	"context"
	"fmt"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"outrigger.dev/outrigger/api/v1alpha1"
	"outrigger.dev/outrigger/internal/fault"
)

// defaultHistory is the API's default.
const defaultHistory = 1

// collect deletes former images of which there are more than are kept, and tells whether some
// are left because they are in use.
func (r *reconciler) collect(ctx context.Context, l *look) (left bool, err error) {
	keep := 1 + defaultHistory
	if h := l.image.Spec.History; h != nil {
		keep = 1 + int(*h)
	}
	all := l.image.Status.Images
	if len(all) <= keep {
		return false, nil
	}
	return r.discard(ctx, l, all[keep:])
}

// discard deletes images that nobody uses.
func (r *reconciler) discard(ctx context.Context, l *look, images []v1alpha1.BuiltImage) (left bool, err error) {
	gone := map[string]bool{}
	for _, i := range images {
		user, err := r.user(ctx, l.image, i.Name)
		if err != nil {
			return true, err
		}
		if user == "" {
			err = l.store.DeleteImage(ctx, i.Name)
		}
		if user != "" || err != nil && !fault.Is(err, fault.UnknownImage) {
			r.Log.Debug("former image stays for now", "image", l.image.Name, "name", i.Name, "user", user, "error", err)
			left = true
			continue
		}
		gone[i.Name] = true
		r.Log.Info("former image deleted", "image", l.image.Name, "name", i.Name)
		r.event(l.image, normal, "ImageDeleted", "image "+i.Name+" was deleted: nobody uses it any more")
	}
	if len(gone) == 0 {
		return left, nil
	}
	_, err = r.setStatus(ctx, l, func(st *v1alpha1.MachineImageStatus) {
		var rest []v1alpha1.BuiltImage
		for _, i := range st.Images {
			if !gone[i.Name] {
				rest = append(rest, i)
			}
		}
		st.Images = rest
	})
	return left, err
}

// user names somebody who uses an image of the provider; "": nobody that this cluster knows of. The provider
// knows of machines of others. What is deleted for that is gone for good, and a cache that is behind does not show who
// has just begun: so the API server is asked.
func (r *reconciler) user(ctx context.Context, owner *v1alpha1.MachineImage, image string) (string, error) {
	if image == owner.Spec.Use || image == owner.Status.Image && owner.DeletionTimestamp.IsZero() {
		return "MachineImage " + owner.Name, nil
	}
	var machines v1alpha1.MachineList
	if err := r.live.List(ctx, &machines); err != nil {
		return "", err
	}
	for _, m := range machines.Items {
		if m.Spec.Image == image {
			return "Machine " + m.Name, nil
		}
	}
	var all v1alpha1.MachinePoolList
	if err := r.live.List(ctx, &all); err != nil {
		return "", err
	}
	for _, p := range all.Items {
		if p.Spec.Image == image {
			return "MachinePool " + p.Name, nil
		}
	}
	var claims v1alpha1.MachineClaimList
	if err := r.live.List(ctx, &claims); err != nil {
		return "", err
	}
	for _, c := range claims.Items {
		if c.Spec.Image == image && (c.Status.Phase == "" || c.Status.Phase == v1alpha1.ClaimQueued) {
			return "MachineClaim " + c.Namespace + "/" + c.Name, nil
		}
	}
	var others v1alpha1.MachineImageList
	if err := r.live.List(ctx, &others); err != nil {
		return "", err
	}
	for _, i := range others.Items {
		if i.UID != owner.UID && (i.Spec.Base == image || i.Spec.Use == image || i.Status.Image == image) {
			return "MachineImage " + i.Name, nil
		}
	}
	return "", nil
}

// end lets go of an object that is being deleted, after its build has ended and its images are what its policy says.
func (r *reconciler) end(ctx context.Context, l *look) (next, error) {
	i := l.image
	if !controllerutil.ContainsFinalizer(i, v1alpha1.FinalizerImage) {
		return next{}, nil
	}
	if l.claim != nil && l.claim.DeletionTimestamp.IsZero() && l.claimed().Ours {
		return next{now: true}, r.drop(ctx, l, Step{Reason: whyOver})
	}
	if i.Spec.DeletionPolicy == v1alpha1.DeletionDelete && len(i.Status.Images) > 0 {
		if n, err := r.endImages(ctx, l); n.after > 0 || n.now || err != nil {
			return n, err
		}
	}
	controllerutil.RemoveFinalizer(l.image, v1alpha1.FinalizerImage)
	return next{}, client.IgnoreNotFound(r.client.Update(ctx, l.image))
}

// endImages deletes all images, or says what they wait for.
func (r *reconciler) endImages(ctx context.Context, l *look) (next, error) {
	if l.store == nil && (l.trouble == nil || !l.trouble.passing) {
		note := "images are left at the provider, which cannot be asked: " + strings.Join(names(l.image.Status.Images), ", ")
		if l.trouble != nil {
			note += ": " + l.trouble.message
		}
		r.Log.Warn("images left", "image", l.image.Name, "note", note)
		r.event(l.image, warning, "ImagesLeft", note)
		return next{}, nil
	}
	why := ""
	switch from, err := r.poolsFrom(ctx, l.image.Name); {
	case err != nil:
		return next{}, err
	case len(from) > 0:
		why = "pools make machines of it: " + strings.Join(from, ", ")
	case l.trouble != nil && l.trouble.passing:
		why = l.trouble.message
	default:
		left, err := r.discard(ctx, l, l.image.Status.Images)
		if err != nil {
			return next{}, err
		}
		if !left {
			return next{}, nil
		}
		why = "images are in use: " + strings.Join(names(l.image.Status.Images), ", ")
	}
	_, err := r.setStatus(ctx, l, func(st *v1alpha1.MachineImageStatus) {
		built(l.image, st, false, v1alpha1.ReasonImageDeleting, fmt.Sprintf("deletionPolicy is Delete, and %s", why))
	})
	return next{after: r.Times.Collect}, err
}

func (r *reconciler) poolsFrom(ctx context.Context, image string) ([]string, error) {
	var all v1alpha1.MachinePoolList
	if err := r.live.List(ctx, &all); err != nil {
		return nil, err
	}
	var from []string
	for _, p := range all.Items {
		if p.Spec.ImageFrom != nil && p.Spec.ImageFrom.Name == image && p.DeletionTimestamp.IsZero() {
			from = append(from, p.Name)
		}
	}
	return from, nil
}

func names(images []v1alpha1.BuiltImage) []string {
	var all []string
	for _, i := range images {
		all = append(all, i.Name)
	}
	return all
}
