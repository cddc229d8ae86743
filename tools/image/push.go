package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// pushAll puts each archive into a registry, under its own name. The login is
// that of ~/.docker/config.json or $DOCKER_CONFIG, as docker login and crane
// auth login write it.
func pushAll(ctx context.Context, from, registry, version string) error {
	for _, r := range recipes {
		digest, err := push(ctx, filepath.Join(from, r.Name+".tar"), registry+"/"+r.Name+":"+version)
		if err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
		fmt.Printf("%s/%s@%s\n", registry, r.Name, digest)
	}
	return nil
}

func push(ctx context.Context, file, to string) (digest string, err error) {
	ref, err := name.ParseReference(to)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "outrigger-image-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	index, err := readArchive(file, dir)
	if err != nil {
		return "", err
	}
	if err := remote.WriteIndex(ref, index, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return "", err
	}
	h, err := index.Digest()
	return h.String(), err
}
