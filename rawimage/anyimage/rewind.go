package anyimage

import (
	"io"
	"io/fs"
	"sync"
)

// chunkSize is the unit of a rewinder. Two are kept, so going back by less than
// one is free; and so are going to the start, and to the end once it was seen.
const chunkSize = 1 << 20

// rewinder reads a stream at any place, at the price of going through it again.
type rewinder struct {
	open func() (*run, error)

	mu         sync.Mutex // guards what follows
	run        *run
	chunks     [2][]byte // before and after
	pos        int64     // of the end of the second
	size       int64     // once known to be so
	head, tail []byte    // the first and last chunkSize bytes; tail counts if size is set
}

// note takes what a pass that counts has read, up to pos, so that a look at both
// ends of the disk costs no other pass.
func (w *rewinder) note(p []byte, pos int64) {
	if room := chunkSize - len(w.head); room > 0 && int64(len(w.head)) == pos-int64(len(p)) {
		w.head = append(w.head, p[:min(room, len(p))]...)
	}
	p = p[max(0, len(p)-chunkSize):]
	drop := max(0, len(w.tail)+len(p)-chunkSize)
	w.tail = append(w.tail[:copy(w.tail, w.tail[drop:])], p...)
}

func (w *rewinder) readAt(p []byte, off, size int64) (int, error) {
	if off < 0 {
		return 0, pkg.Errorf("read at %d: %w", off, fs.ErrInvalid)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for n := 0; ; {
		if n == len(p) {
			return n, nil
		}
		if off >= size {
			return n, io.EOF
		}
		part, err := w.at(off)
		if err != nil {
			return n, err
		}
		c := copy(p[n:], part)
		n, off = n+c, off+int64(c)
	}
}

// at returns bytes of the disk from off on, at least one.
func (w *rewinder) at(off int64) ([]byte, error) {
	if off < int64(len(w.head)) {
		return w.head[off:], nil
	}
	if start := w.size - int64(len(w.tail)); w.size > 0 && off >= start {
		return w.tail[off-start:], nil
	}
	for {
		second := w.pos - int64(len(w.chunks[1]))
		first := second - int64(len(w.chunks[0]))
		switch {
		case w.run != nil && off < w.pos && off >= second:
			return w.chunks[1][off-second:], nil
		case w.run != nil && off < w.pos && off >= first:
			return w.chunks[0][off-first:], nil
		}
		if w.run == nil || off < first {
			if err := w.rewind(); err != nil {
				return nil, err
			}
		}
		if err := w.advance(); err != nil {
			return nil, err
		}
	}
}

func (w *rewinder) rewind() error {
	w.close()
	var err error
	w.run, err = w.open()
	return err
}

// advance reads the next chunk. At the end of the disk it notes its last bytes.
func (w *rewinder) advance() error {
	free := w.chunks[0][:0]
	if cap(free) == 0 {
		free = make([]byte, chunkSize)
	}
	free = free[:chunkSize]
	n, err := io.ReadFull(w.run, free)
	w.chunks[0], w.chunks[1] = w.chunks[1], free[:n]
	if w.pos == 0 && w.head == nil {
		w.head = append(w.head, free[:n]...)
	}
	w.pos += int64(n)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
		w.tail = append(append([]byte(nil), w.chunks[0]...), w.chunks[1]...)
		w.size = w.pos
		if n == 0 {
			err = io.ErrUnexpectedEOF // the caller wanted more than there is
		}
	}
	return err
}

func (w *rewinder) close() {
	if w.run != nil {
		w.run.close()
	}
	w.run, w.pos = nil, 0
	w.chunks[0], w.chunks[1] = w.chunks[0][:0], w.chunks[1][:0]
}
