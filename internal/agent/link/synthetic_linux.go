package link

import (
	"context"
	"errors"
)

// synthetic is empty: only macOS has such entries.
func synthetic() (map[string]string, error) { return nil, nil }

func addSynthetic(context.Context, string, string, bool) error { return errors.ErrUnsupported }
