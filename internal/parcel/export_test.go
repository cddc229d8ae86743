package parcel

import (
	"context"
	"io"
)

// UnpackAsked is [Get] without a connection.
func UnpackAsked(ctx context.Context, r io.Reader, name, dst string, o Options) (Report, error) {
	return unpack(ctx, r, dst, o, asked(name))
}

// UnpackMost is [Unpack] of at most so many entries.
func UnpackMost(ctx context.Context, r io.Reader, dst string, o Options, most int) (Report, error) {
	return unpackMost(ctx, r, dst, o, func(string) bool { return true }, most)
}

// Of the protocol, for tests that break it.
const (
	TypeData = typeData
	TypeEnd  = typeEnd
)

// A Trailer ends what is sent.
type Trailer = trailer
