// Package prefetch reads a disk ahead of a consumer that takes its data in disk
// order, as encoders do: many reads are under way at once, so that the latency of
// a network does not add up. Only what the disk calls data is read, and nothing
// twice.
package prefetch

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/fastimage/fastimage/internal/sparse"
)

// unitSize is what is read at once: a block of the containers that are written.
const unitSize = 2 << 20

// startRead is the size of a read at the start of the disk that begins the reading
// ahead: encoders read that much at once, whoever looks at a header reads less.
const startRead = 128 << 10

// abandoned is after how many times the units read ahead one that nobody took is let
// go. A consumer that is slower than others may be that far behind.
const abandoned = 16

// Disk is a disk that is read ahead, from [Disk.Start] or the first large read at
// its start on. Reads of what was read already, or out of order, go to the source directly: they
// are right, but not faster. It is safe for concurrent use.
type Disk struct {
	src   io.ReaderAt
	find  sparse.Finder
	size  int64
	ahead int // units that are read but not taken, at most

	cancel context.CancelFunc

	mu    sync.Mutex // guards what follows
	more  sync.Cond  // the consumer has moved on, or everything ends
	units map[int64]*unit
	seq   int   // units handed out by the walk so far
	pass  int64 // counts the walks: one that is not the last has ended
	pos   int64 // the walk has come to here; the size of the disk if there is none
	ended bool
}

type unit struct {
	seq   int
	ready chan struct{} // closed when the rest is set
	data  []byte
	end   int64 // of what is data in it; a consumer that has come there is done with it
	err   error
}

// New returns src, a disk of size bytes that may know its holes, with up to ahead
// units of 2 MiB read ahead, which is also its memory. It must be closed.
func New(ctx context.Context, src io.ReaderAt, size int64, ahead int) *Disk {
	d := &Disk{src: src, find: sparse.Of(src), size: size, pos: size, ahead: max(ahead, 1), units: make(map[int64]*unit)}
	d.more.L = &d.mu
	ctx, d.cancel = context.WithCancel(ctx)
	context.AfterFunc(ctx, d.end)
	return d
}

// Close ends the reading ahead. It does not wait: reads of the source that are
// under way end when it is closed.
func (d *Disk) Close() {
	d.cancel()
	d.end()
}

func (d *Disk) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	d.more.Broadcast()
}

// Size returns the bytes of the disk.
func (d *Disk) Size() int64 { return d.size }

// NextData is the source's.
func (d *Disk) NextData(off int64) (start, end int64, err error) {
	return sparse.NextData(d.find, off, d.size)
}

// Start begins to read ahead from the start of the disk, once more if that was
// done before. A large read there does it too.
func (d *Disk) Start() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended || d.units[0] != nil {
		return
	}
	clear(d.units)
	d.seq, d.pos = 0, 0
	d.pass++
	d.more.Broadcast()
	go d.walk(d.pass)
}

// walk hands out the units that have data, in order. What it cannot find out,
// consumers find out for themselves.
func (d *Disk) walk(pass int64) {
	defer d.reach(pass, d.size)
	for off := int64(0); off < d.size; off += unitSize {
		start, _, err := d.NextData(off)
		if err != nil {
			return
		}
		off = max(off, start/unitSize*unitSize)
		if !d.begin(pass, off) {
			return
		}
	}
}

// reach notes how far a walk has come.
func (d *Disk) reach(pass, pos int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pass == pass {
		d.pos = pos
		d.more.Broadcast()
	}
}

// begin reads a unit once there is room for it.
func (d *Disk) begin(pass, off int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for !d.ended && d.pass == pass && len(d.units) >= d.ahead {
		d.more.Wait()
	}
	if d.ended || d.pass != pass {
		return false
	}
	u := &unit{seq: d.seq, ready: make(chan struct{})}
	d.units[off] = u
	d.seq++
	d.pos = off + unitSize
	d.more.Broadcast()
	go func() {
		defer close(u.ready)
		u.data, u.end, u.err = d.readUnit(off)
	}()
	return true
}

func (d *Disk) readUnit(off int64) (p []byte, dataEnd int64, err error) {
	p = make([]byte, min(unitSize, d.size-off))
	for pos := off; pos < off+int64(len(p)); {
		start, end, err := d.NextData(pos)
		if err == io.EOF || err == nil && start >= off+int64(len(p)) {
			break
		}
		if err != nil {
			return nil, pos, err
		}
		pos = min(end, off+int64(len(p)))
		if err := readFull(d.src, p[start-off:pos-off], start); err != nil {
			return nil, pos, err
		}
		dataEnd = pos
	}
	return p, dataEnd, nil
}

func readFull(src io.ReaderAt, p []byte, off int64) error {
	n, err := src.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// ReadAt implements io.ReaderAt.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read at offset %d: %w", off, fs.ErrInvalid)
	}
	if off >= d.size {
		return 0, io.EOF
	}
	var eof error
	if int64(len(p)) > d.size-off {
		p, eof = p[:d.size-off], io.EOF
	}
	if off < unitSize && len(p) >= startRead {
		d.Start()
	}
	for n := 0; n < len(p); {
		pos := off + int64(n)
		part := p[n:min(int64(len(p)), int64(n)+unitSize-pos%unitSize)]
		if err := d.read(part, pos); err != nil {
			return n, err
		}
		n += len(part)
	}
	return len(p), eof
}

// read reads a range within one unit.
func (d *Disk) read(p []byte, off int64) error {
	at := off / unitSize * unitSize
	u := d.lookup(at)
	if u == nil {
		return readFull(d.src, p, off)
	}
	<-u.ready
	if u.err == nil {
		copy(p, u.data[off-at:])
	}
	if u.err != nil || off+int64(len(p)) >= u.end {
		d.release(at, u)
	}
	return u.err
}

// lookup returns the unit at off if it is read or being read. One that the walk is
// about to come to is waited for, not read twice.
func (d *Disk) lookup(off int64) *unit {
	d.mu.Lock()
	defer d.mu.Unlock()
	for !d.ended && off >= d.pos && len(d.units) < d.ahead {
		d.more.Wait()
	}
	return d.units[off]
}

// release lets go of a unit that was taken, and of those that nobody came for.
func (d *Disk) release(off int64, u *unit) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.units[off] != u {
		return
	}
	delete(d.units, off)
	for at, old := range d.units {
		if old.seq < u.seq-abandoned*d.ahead {
			delete(d.units, at)
		}
	}
	d.more.Broadcast()
}
