package look

import (
	"context"
	"path/filepath"

	"outrigger.dev/outrigger/internal/doctor"
	"outrigger.dev/outrigger/internal/fault"
	"outrigger.dev/outrigger/internal/provider"
	"outrigger.dev/outrigger/internal/provider/local"
	"outrigger.dev/outrigger/internal/provider/qemu"
)

// here puts in the looks at providers whose machines are on this computer.
func (p Patient) here(looks map[string]look) {
	looks["disk-here"] = p.diskHere
	switch p.Config.(type) {
	case local.Config:
		looks["computer"] = func(_ context.Context, f *doctor.Facts) {
			f.Emulator = &doctor.Emulator{}
			if err := local.Supported(); err != nil {
				f.Emulator.Trouble = &doctor.Trouble{Reason: doctor.NotHere, Text: text(err)}
			}
		}
	case qemu.Config:
		p.emulator(looks)
	}
}

// emulator looks at QEMU, once.
func (p Patient) emulator(looks map[string]look) {
	q, ok := provider.As[*qemu.Provider](p.Provider)
	if !ok {
		return
	}
	var s qemu.Survey
	looks["emulator"] = func(ctx context.Context, f *doctor.Facts) {
		var err error
		s, err = q.Survey(ctx)
		f.Emulator = &doctor.Emulator{Path: s.Path, Version: s.Version, Tools: s.Missing, KVM: s.NoKVM, Accel: string(s.Accel)}
		if err != nil {
			f.Emulator.Trouble = &doctor.Trouble{Reason: emulatorReason(s, err), Text: text(err)}
		}
	}
	looks["image"] = func(ctx context.Context, f *doctor.Facts) {
		i := &doctor.Image{Name: s.Image}
		if p.Image != "" {
			i.Name = p.Image
		}
		f.Image = i
		all, err := q.Images(ctx)
		if err != nil {
			i.Trouble = trouble(err)
			return
		}
		i.Asked = true
		for _, one := range all {
			i.There = i.There || one.Name == i.Name
		}
	}
	looks["capacity"] = func(ctx context.Context, f *doctor.Facts) {
		f.Room = &doctor.Room{Max: s.Max}
		all, err := q.List(ctx, "")
		if err != nil {
			f.Room.Words = text(err)
			return
		}
		f.Room.Known, f.Room.Used = true, len(all)
	}
}

func emulatorReason(s qemu.Survey, err error) doctor.Reason {
	switch {
	case s.Path != "":
		return doctor.NotWorking
	case s.Unsupported:
		return doctor.NotHere
	case fault.Is(err, fault.ProviderRefused):
		return doctor.NoProgram
	}
	return doctor.Other
}

// diskHere looks at the folder that machines are made in, or that it will be made in.
func (p Patient) diskHere(_ context.Context, f *doctor.Facts) {
	dir := p.State
	f.Disk = &doctor.Disk{Path: dir}
	for {
		free, err := freeBytes(dir)
		if err == nil {
			f.Disk.Free = free
			return
		}
		up := filepath.Dir(dir)
		if up == dir {
			f.Disk.Trouble = trouble(err)
			return
		}
		dir = up
	}
}
