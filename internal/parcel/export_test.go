package parcel

import (
	"context"
	"io"
)

// UnpackAsked is [Get] without a connection.
func UnpackAsked(ctx context.Context, r io.Reader, name, dst string, o Options) (Report, error) {
	return unpack(ctx, r, dst, o, asked(name))
}
