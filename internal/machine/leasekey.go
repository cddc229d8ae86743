package machine

import (
	"crypto/hmac"
	"crypto/sha256"
)

// LeaseKey derives the key for the leases on one machine from a secret that stays here: another one for each
// machine, so that none learns what opens the leases of another.
func LeaseKey(secret Secret, machine string) Secret {
	if secret.Empty() {
		return Secret{}
	}
	h := hmac.New(sha256.New, []byte(secret.Reveal()))
	h.Write([]byte("outrigger lease\x00" + machine))
	return NewSecret(string(h.Sum(nil)))
}
