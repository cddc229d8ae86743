package pools

import (
	"context"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"outrigger.dev/outrigger/api/v1alpha1"
)

// nothing is an API server that has nothing.
type nothing struct{ client.Reader }

func (nothing) Get(_ context.Context, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
	return apierrors.NewNotFound(schema.GroupResource{Resource: "machineclaims"}, key.Name)
}

// A claim that was deleted a moment after we had bound it: the cache has dropped it and told the
// keeper, and what we wrote is not forgotten yet. Nothing else will wake the keeper.
func TestALeaseEndsWithAClaimThatWasJustWritten(t *testing.T) {
	claims := toolscache.NewSharedIndexInformer(&toolscache.ListWatch{}, &v1alpha1.MachineClaim{}, 0, nil)
	v := &view{claims: claims, wroteClaims: newRecent[*v1alpha1.MachineClaim](claims.LastSyncResourceVersion)}
	cl := &v1alpha1.MachineClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "c", UID: "u", ResourceVersion: "7"}}
	cl.Status.Phase, cl.Status.Machine = v1alpha1.ClaimBound, "m"
	v.wroteClaims.wrote(cl)
	m := &v1alpha1.Machine{ObjectMeta: metav1.ObjectMeta{Name: "m"}}
	m.Spec.Claim = &v1alpha1.ClaimReference{Namespace: "team", Name: "c", UID: "u"}
	k := &keeper{&core{view: v, live: nothing{}}}
	if over, err := k.over(t.Context(), m); !over || err != nil {
		t.Errorf("over: %v, %v; want the lease to be over", over, err)
	}
	if err := claims.GetStore().Add(cl); err != nil {
		t.Fatal(err)
	}
	if over, err := k.over(t.Context(), m); over || err != nil {
		t.Errorf("over: %v, %v while the cache has the claim", over, err)
	}
}
