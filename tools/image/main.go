// Command image packs the programs of Outrigger into container images, and
// pushes them to a registry. It needs no container engine and no base image.
//
//	image build -bin ../../bin -out ../../bin/images -version v1   # one OCI archive per image
//	image push -from ../../bin/images -version v1 registry.example.com/outrigger
//
// The same programs make the same image, bit by bit: no times, no owners, no
// order of a folder are in it. The images share their layer of agents, so a
// registry and a node hold that once.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("want build or push")
	}
	f := flag.NewFlagSet("image "+args[0], flag.ContinueOnError)
	version := f.String("version", "dev", "tag of the images")
	switch args[0] {
	case "build":
		bin := f.String("bin", "bin", "folder with agents/ and linux-ARCH/PROGRAM")
		out := f.String("out", "bin/images", "folder for the archives")
		registry := f.String("registry", "registry.local/outrigger", "the name in the archives, before the image's own")
		arch := f.String("arch", "amd64 arm64", "architectures, in Go's words")
		if err := f.Parse(args[1:]); err != nil {
			return err
		}
		return buildAll(*bin, *out, *registry, *version, strings.Fields(*arch))
	case "push":
		from := f.String("from", "bin/images", "folder with the archives")
		if err := f.Parse(args[1:]); err != nil {
			return err
		}
		if f.NArg() != 1 {
			return errors.New("push: want one REGISTRY/FOLDER")
		}
		return pushAll(ctx, *from, f.Arg(0), *version)
	}
	return fmt.Errorf("unknown command %q: want build or push", args[0])
}
