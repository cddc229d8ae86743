package orkaapi

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"outrigger.dev/outrigger/internal/machine"
)

// Expires reads from a token when it ends. Orka's tokens are JSON web tokens
// (RFC 7519) of Kubernetes; one that is none, or that has no end, says nothing. Nothing
// is verified: the server does that.
func Expires(token machine.Secret) (time.Time, bool) {
	parts := strings.Split(token.Reveal(), ".")
	if len(parts) != 3 {
		return time.Time{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return time.Time{}, false
	}
	var claims struct {
		Exp json.Number `json:"exp"` // seconds; the RFC allows a fraction
	}
	if json.Unmarshal(payload, &claims) != nil {
		return time.Time{}, false
	}
	seconds, err := claims.Exp.Float64()
	if err != nil || seconds <= 0 || seconds > maxExpiry {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0).UTC(), true
}

// maxExpiry is the year 9999: beyond it no encoder of times goes.
const maxExpiry = 253402300799
