package orkav1

// Apply fills in of a template what s leaves open.
func (s *VMSpec) Apply(t ConfigSpec) {
	if s.Image == "" {
		s.Image = t.Image
	}
	if s.CPU == 0 {
		s.CPU = t.CPU
	}
	fill(&s.Memory, t.Memory)
	fill(&s.ISO, t.ISO)
	fill(&s.VNCConsole, t.VNCConsole)
	fill(&s.NetBoost, t.NetBoost)
	fill(&s.LegacyIO, t.LegacyIO)
	fill(&s.GPUPassthrough, t.GPUPassthrough)
	fill(&s.SystemSerial, t.SystemSerial)
	fill(&s.Tag, t.Tag)
	fill(&s.TagRequired, t.TagRequired)
	fill(&s.Scheduler, t.Scheduler)
	fill(&s.NodeName, t.NodeName)
	fill(&s.DisplayWidth, t.DisplayWidth)
	fill(&s.DisplayHeight, t.DisplayHeight)
	fill(&s.DisplayDPI, t.DisplayDPI)
}

// Default fills in what Orka decides itself.
func (s *VMSpec) Default() {
	if s.CPU == 0 {
		s.CPU = DefaultCPU
	}
}

// HasConsole tells whether the VM has a VNC console: unless it is switched off, or a GPU is passed through,
// which excludes it.
func (s *VMSpec) HasConsole() bool {
	return (s.VNCConsole == nil || *s.VNCConsole) && !yes(s.GPUPassthrough)
}

func fill[T any](field **T, value *T) {
	if *field == nil {
		*field = value
	}
}
