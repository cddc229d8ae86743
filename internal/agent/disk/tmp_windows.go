package disk

import "context"

// MakeTmp makes nothing: paths on Windows may be long, and the folder in the lease does.
func (Root) MakeTmp() (string, error) { return "", nil }

// EnsureTmp has nothing to do, see MakeTmp.
func EnsureTmp(string) error { return nil }

// IsTmp is false, see MakeTmp.
func (Root) IsTmp(string) bool { return false }

// RemoveTmp has nothing to do, see MakeTmp.
func (Root) RemoveTmp(context.Context, func(dir string) bool) error { return nil }
