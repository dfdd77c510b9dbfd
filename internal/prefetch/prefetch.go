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

// Disk is a disk that is read ahead, from [Disk.Start] or the first large read at
// its start on. Reads of what was read already, or out of order, go to the source directly: they
// are right, but not faster. It is safe for concurrent use.
type Disk struct {
	src    io.ReaderAt
	find   sparse.Finder
	size   int64
	ahead  int64 // units read ahead of the consumer
	behind int64 // units kept for consumers that are slower than others

	cancel context.CancelFunc

	mu    sync.Mutex // guards what follows
	more  sync.Cond  // the consumer has moved on, or everything ends
	units map[int64]*unit
	seq   int64 // units handed out by the walk so far
	taken int64 // the consumer has come to this one
	pass  int64 // counts the walks: one that is not the last has ended
	ended bool
}

type unit struct {
	seq   int64
	ready chan struct{} // closed when data and err are set
	data  []byte
	err   error
}

// New returns src, a disk of size bytes that may know its holes, with up to ahead
// units of 2 MiB being read ahead for a number of consumers that work side by
// side. Memory is 2 MiB times (ahead + 2*consumers). It must be closed.
func New(ctx context.Context, src io.ReaderAt, size int64, ahead, consumers int) *Disk {
	d := &Disk{src: src, find: sparse.Of(src), size: size, ahead: int64(max(ahead, 1)), behind: int64(2 * max(consumers, 1)), units: make(map[int64]*unit)}
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
	d.seq, d.taken = 0, 0
	d.pass++
	d.more.Broadcast()
	go d.walk(d.pass)
}

// walk hands out the units that have data, in order. What it cannot find out,
// consumers find out for themselves.
func (d *Disk) walk(pass int64) {
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

// begin reads a unit once there is room for it.
func (d *Disk) begin(pass, off int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for !d.ended && d.pass == pass && d.seq >= d.taken+d.ahead {
		d.more.Wait()
	}
	if d.ended || d.pass != pass {
		return false
	}
	u := &unit{seq: d.seq, ready: make(chan struct{})}
	d.units[off] = u
	d.seq++
	go func() {
		defer close(u.ready)
		u.data, u.err = d.readUnit(off)
	}()
	return true
}

func (d *Disk) readUnit(off int64) ([]byte, error) {
	p := make([]byte, min(unitSize, d.size-off))
	for pos := off; pos < off+int64(len(p)); {
		start, end, err := d.NextData(pos)
		if err == io.EOF || err == nil && start >= off+int64(len(p)) {
			break
		}
		if err != nil {
			return nil, err
		}
		pos = min(end, off+int64(len(p)))
		if err := readFull(d.src, p[start-off:pos-off], start); err != nil {
			return nil, err
		}
	}
	return p, nil
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
	u := d.take(off / unitSize * unitSize)
	if u == nil {
		return readFull(d.src, p, off)
	}
	<-u.ready
	if u.err != nil {
		return u.err
	}
	copy(p, u.data[off%unitSize:])
	return nil
}

// take returns the unit at off if it is read or being read, and lets go of those
// that all consumers have passed.
func (d *Disk) take(off int64) *unit {
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.units[off]
	if u == nil || u.seq < d.taken {
		return u
	}
	d.taken = u.seq + 1
	for at, old := range d.units {
		if old.seq < d.taken-d.behind {
			delete(d.units, at)
		}
	}
	d.more.Broadcast()
	return u
}
