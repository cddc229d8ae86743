package orka

import (
	"crypto/sha256"
	"encoding/base32"
	"regexp"
	"strings"

	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/machine"
)

// The name of a VM is the machine's name and a mark: "mac-7k2q-obqxa43ef4a". The mark is
// 6 characters of a digest of the owner and 4 of a digest of all before them. So anyone
// who lists VMs, through either door and without any memory, sees which were made
// by Outrigger and whose they are: a REST deploy can carry no label. And a VM
// that somebody else has called "mac-7k2q" is never taken for ours, nor deleted.
const (
	ownerLen = 6
	checkLen = 4
	markLen  = 1 + ownerLen + checkLen
	maxName  = 63 - markLen // Orka's limit for VM names is 63
)

var letterFirst = regexp.MustCompile(`^[a-z]`)

// vmName is the name of the owner's machine at Orka.
func vmName(name machine.Name, owner machine.Owner) string {
	base := string(name) + "-" + digest("owner", string(owner))[:ownerLen]
	return base + digest("name", base)[:checkLen]
}

// nameOf is the machine's name in a VM's, if Outrigger made the VM.
func nameOf(vm string) (machine.Name, bool) {
	if len(vm) <= markLen {
		return "", false
	}
	base, check := vm[:len(vm)-checkLen], vm[len(vm)-checkLen:]
	name := vm[:len(vm)-markLen]
	if vm[len(name)] != '-' || digest("name", base)[:checkLen] != check {
		return "", false
	}
	parsed, err := machine.ParseName(name)
	return parsed, err == nil
}

// owned tells whether a VM that Outrigger made is the owner's.
func owned(vm string, owner machine.Owner) bool {
	name, ok := nameOf(vm)
	return ok && vm == vmName(name, owner)
}

// digest is lower-case letters and digits, fit for a name.
func digest(purpose, s string) string {
	sum := sha256.Sum256([]byte("outrigger " + purpose + "\x00" + s))
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))
}

// checkName tells whether Orka takes a machine's name.
func checkName(provider string, name machine.Name) error {
	if _, err := machine.ParseName(string(name)); err != nil {
		return fault.New(fault.ProviderRefused, "%s: %w", provider, err)
	}
	if len(name) > maxName || !letterFirst.MatchString(string(name)) {
		return fault.New(fault.ProviderRefused, "%s: machine name %q: Orka wants at most %d characters, the first a letter", provider, name, maxName).
			WithRemedy("Choose a shorter name, of the machine or of its pool, that begins with a letter.")
	}
	return nil
}
