package pool

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPlan(t *testing.T) {
	for _, tt := range []struct{ name, have, want string }{
		{"an empty pool is warmed", "pool warm=2", "create\ncreate"},
		{"machines on their way count", "pool warm=2\nm1 booting\nm2 creating", ""},
		{"warm is on top of those in use", "pool warm=1\nm1 leased ns=a", "create"},
		{"never above max", "pool warm=5 max=2\nm1 leased ns=a", "create"},
		{"what is being deleted counts", "pool warm=1 max=1\nm1 deleting", ""},
		{"a few at a time", "pool warm=9 creating=3\nm1 creating", "create\ncreate"},
		{"what boots is not under creation", "pool warm=3 creating=1\nm1 booting", "create"},
		{"but four times as many are enough", "pool warm=9 creating=1\nm1 booting\nm2 booting\nm3 booting", "create"},
		{"and no more", "pool warm=9 creating=1\nm1 booting\nm2 booting\nm3 booting\nm4 booting", ""},
		{"a claim does not get a machine that did not answer", "pool warm=2\nm1 idle suspect\nm2 idle\nc1 waits", "bind m2 to c1\ncreate"},
		{"it gets another one, if there is room", "pool warm=1\nm1 idle suspect\nc1 waits", "create"},
		{"nor one that was made for it", "pool\nm1 idle for=c1 image=x suspect\nc1 waits image=x", ""},
		{"which is not replaced before it is given up", "pool warm=2\nm1 idle suspect\nm2 idle suspect", ""},
		{"nor is it one too many", "pool warm=1\nm1 idle suspect\nm2 idle", ""},
		{"a lower max ends it first", "pool warm=1 max=1\nm1 idle\nm2 idle suspect", "delete m2 Excess"},
		{"as does the end of the pool", "pool closing\nm1 idle suspect", "delete m1 PoolDeleted"},
		{"none while creation backs off", "pool warm=1 backoff=10s failures=1", ""},
		{"after a failure one is tried first", "pool warm=3 failures=1", "create"},
		{"and one only", "pool warm=3 failures=1\nm1 creating", ""},

		{"the longest idle goes first", "pool warm=2\nm1 idle 1m\nm2 idle 9m\nc1 waits", "bind m2 to c1\ncreate"},
		{"older claims go first", "pool\nm1 idle\nc1 waits 1m\nc2 waits 2m", "bind m1 to c2\ncreate"},
		{"priority goes before age", "pool max=1\nm1 idle\nc1 waits 9m\nc2 waits 1m prio=1", "bind m1 to c2"},
		{"who has fewer goes first", "pool max=2\nm0 leased ns=a\nm1 idle\nc1 waits 9m ns=a\nc2 waits 1m ns=b", "bind m1 to c2"},
		{"namespaces take turns", "pool max=3\nm1 idle 3m\nm2 idle 2m\nm3 idle 1m\nc1 waits 9m ns=a\nc2 waits 8m ns=a\nc3 waits 7m ns=a\nc4 waits 1m ns=b",
			"bind m1 to c1\nbind m2 to c4\nbind m3 to c2"},
		{"who got nothing for long counts as having less", "pool max=4\nm0 leased 40m ns=a\nm1 leased 40m ns=a\nm2 leased 1m ns=b\nm3 idle\nc1 waits 35m ns=a\nc2 waits 1m ns=b",
			"bind m3 to c1"},
		{"a machine on its way is for who waits", "pool\nm1 booting\nc1 waits", ""},
		{"who waits comes before warmth", "pool warm=1 max=2\nm1 booting\nc1 waits\nc2 waits", "create"},
		{"a machine that is released comes back", "pool reuse\nm1 releasing returns\nc1 waits", ""},
		{"one that does not come back is replaced", "pool\nm1 releasing\nc1 waits", "create"},

		{"too many idle: the oldest goes", "pool warm=1\nm1 idle age=1h\nm2 idle age=2h\nm3 idle age=3h", "delete m3 Excess\ndelete m2 Excess"},
		{"booting and leased stay", "pool warm=0\nm1 booting\nm2 leased ns=a\nm3 creating", ""},
		{"a lowered max is obeyed before who waits", "pool warm=2 max=1\nm1 leased ns=a\nm2 idle\nc1 waits", "delete m2 Excess"},
		{"aged: replaced without a gap", "pool warm=1 maxage=2h\nm1 idle age=3h", "create"},
		{"aged: a stand-in is there", "pool warm=1 maxage=2h\nm1 idle age=3h\nm2 idle", "delete m1 Outdated"},
		{"aged: a full pool goes one by one", "pool warm=2 max=2 maxage=2h\nm1 idle age=3h\nm2 idle age=4h", "delete m2 Outdated"},
		{"aged: in a full pool room is about to come", "pool warm=2 max=3 maxage=2h\nm1 idle age=3h\nm2 idle age=4h\nm3 releasing", ""},
		{"used up", "pool warm=1 maxuses=3\nm1 idle uses=3\nm2 idle uses=2", "delete m1 Outdated"},
		{"a new image: gradually", "pool warm=2 image=new\nm1 idle image=old\nm2 idle image=old", "create new\ncreate new"},
		{"a new image: one is there", "pool warm=2 image=new\nm1 idle image=old\nm2 idle image=old age=2h\nm3 idle image=new\nm4 booting image=new", "delete m2 Outdated"},
		{"a new image is preferred", "pool image=new\nm1 idle 9m image=old\nm2 idle image=new\nc1 waits", "bind m2 to c1\ndelete m1 Outdated"},
		{"the old one is better than none", "pool image=new\nm1 idle image=old\nc1 waits", "bind m1 to c1"},

		{"an image of one's own", "pool warm=1\nm1 idle\nc1 waits image=x", "create x for c1"},
		{"it is waited for", "pool warm=1\nm1 idle\nm2 booting image=x for=c1\nc1 waits image=x", ""},
		{"it is for nobody else", "pool warm=0\nm2 idle image=x for=c1\nc1 waits image=x\nc2 waits image=x", "bind m2 to c1\ncreate x for c2"},
		{"and goes with its claim", "pool warm=0\nm2 idle image=x for=c1", "delete m2 Unwanted"},
		{"but not while it boots", "pool warm=0\nm2 booting image=x for=c1", ""},
		{"a full pool makes room", "pool warm=2 max=2\nm1 idle age=1h\nm2 idle age=2h\nc1 waits image=x", "delete m2 MakeRoom"},
		{"once", "pool warm=2 max=2\nm1 idle age=1h\nm2 deleting\nc1 waits image=x", ""},
		{"not while creation backs off", "pool warm=2 max=2 backoff=1m failures=1\nm1 idle\nm2 idle\nc1 waits image=x", ""},
		{"the pool's image by name is no own one", "pool image=x\nm1 idle image=x\nc1 waits image=x", "bind m1 to c1"},

		{"a machine of one's own, of the pool's image", "pool image=x\nm1 idle image=x\nc1 waits image=x fresh", "delete m1 Excess\ncreate x for c1"},
		{"a machine of one's own, of whatever image", "pool warm=1 image=x\nm1 idle image=x\nm2 idle image=x for=c1\nc1 waits fresh", "bind m2 to c1"},

		{"no image is built: none is made", "pool warm=2 noimage\nc1 waits", ""},
		{"no image is built: those of the former one stay", "pool warm=1 maxage=2h noimage\nm1 idle image=old age=3h", ""},
		{"no image is built: those of the former one serve", "pool warm=1 noimage\nm1 idle image=old\nc1 waits", "bind m1 to c1"},
		{"no image is built: one with an image is served", "pool warm=1 noimage\nc1 waits image=base fresh\nc2 waits", "create base for c1"},
		{"no image is built: which is nobody's own", "pool noimage\nc1 waits fresh", ""},

		{"a closing pool", "pool warm=2 closing\nm1 idle\nm2 leased ns=a\nm3 booting\nc1 waits", "delete m1 PoolDeleted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := parse(t, tt.have)
			if diff := cmp.Diff(lines(tt.want), words(s, Plan(s))); diff != "" {
				t.Errorf("Plan (-want +got):\n%s\ngiven:\n%s", diff, tt.have)
			}
		})
	}
}

func TestQueue(t *testing.T) {
	for _, tt := range []struct{ name, have, want string }{
		{"all are in use", "pool max=1 start=1m lease=10m\nm1 leased 4m ns=a\nc1 waits 2m\nc2 waits 1m",
			"1 c1 PoolAtMax 7m0s\n2 c2 PoolAtMax 18m0s"},
		{"with reuse there is nothing to start", "pool max=1 reuse start=1m lease=10m\nm1 leased 4m ns=a\nc1 waits 2m\nc2 waits 1m",
			"1 c1 PoolAtMax 6m0s\n2 c2 PoolAtMax 16m0s"},
		{"one is starting", "pool max=2 start=2m lease=10m\nm1 booting age=30s\nc1 waits\nc2 waits",
			"1 c1 MachineStarting 1m30s\n2 c2 MachineStarting 2m0s"},
		{"creation fails", "pool max=2 backoff=30s failures=3 start=1m\nc1 waits", "1 c1 CreationFailed 1m30s"},
		{"what is under creation does not come", "pool failures=3\nm1 creating\nm2 booting\nc1 waits 3m\nc2 waits 2m", "1 c1 MachineStarting\n2 c2 CreationFailed"},
		{"creation is limited", "pool creating=1 start=1m\nc1 waits 3m\nc2 waits 2m", "1 c1 MachineStarting 1m0s\n2 c2 CreationLimited 2m0s"},
		{"nothing is known", "pool max=1\nm1 leased ns=a\nc1 waits", "1 c1 PoolAtMax"},
		{"an overdue lease ends any moment", "pool max=1 reuse start=1m lease=10m\nm1 leased 40m ns=a\nc1 waits", "1 c1 PoolAtMax 1s"},
		{"no image is built", "pool max=3 noimage start=1m\nc1 waits 3m\nc2 waits 2m image=base", "1 c1 ImageNotBuilt\n2 c2 MachineStarting 1m0s"},
		{"a closing pool", "pool closing\nc1 waits", "1 c1 PoolDeleted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := parse(t, tt.have)
			if diff := cmp.Diff(lines(tt.want), waits(s, Plan(s))); diff != "" {
				t.Errorf("Queue (-want +got):\n%s\ngiven:\n%s", diff, tt.have)
			}
		})
	}
}

// Time alone changes something when creation may be tried again, and when a machine ages.
func TestNext(t *testing.T) {
	for _, tt := range []struct {
		have string
		want time.Time
	}{
		{"pool warm=1\nm1 idle", time.Time{}},
		{"pool warm=1 backoff=10s failures=1", noon.Add(10 * time.Second)},
		{"pool warm=1 maxage=2h\nm1 idle age=90m", noon.Add(30 * time.Minute)},
	} {
		if got := Plan(parse(t, tt.have)).Next; !got.Equal(tt.want) {
			t.Errorf("Next of %q: %v; want %v", tt.have, got, tt.want)
		}
	}
}
