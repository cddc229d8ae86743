package pack

// A Lister packs records that need no file: lists of what a side has.
type Lister struct {
	Send func(Block) error
	w    writer
}

// Put adds a record and sends the block when it is full. Lists compress to
// less than half and are short, so they always are.
func (l *Lister) Put(r *Record) error {
	l.w.put(r)
	if l.w.room() > 0 {
		return nil
	}
	return l.Flush()
}

// Flush sends what is left.
func (l *Lister) Flush() error {
	if len(l.w.buf) == 0 {
		return nil
	}
	block := Block{Bytes: l.w.buf}
	if len(l.w.buf) > 4096 { // else it fits into a packet or three as it is
		block = squeeze(l.w.buf, Fast)
	}
	l.w = writer{}
	return l.Send(block)
}
