package operator

import "time"

// Times are how long things take on a cluster.
type Times struct {
	Uncached time.Duration // a deploy from an image that the node has not used yet
	Cached   time.Duration // one from an image that it has
	SSH      time.Duration // from Running until the SSH port opens
	Login    time.Duration // from then until the users are known
	Save     time.Duration // save, commit or copy of an image
	Push     time.Duration // to a registry
	End      time.Duration // from the request to delete a VM until it is gone: a guess
}

// Documented are the times as MacStadium's documentation has them, or as clients
// allow for where it has none.
var Documented = Times{
	Uncached: 4 * time.Minute,
	Cached:   5 * time.Second,
	SSH:      10 * time.Second,
	Login:    2 * time.Second,
	Save:     5 * time.Minute,
	Push:     10 * time.Minute,
	End:      2 * time.Second,
}

// Faster returns t for a cluster that is so many times as fast.
func (t Times) Faster(speed float64) Times {
	for _, d := range []*time.Duration{&t.Uncached, &t.Cached, &t.SSH, &t.Login, &t.Save, &t.Push, &t.End} {
		*d = time.Duration(float64(*d) / speed)
	}
	return t
}
