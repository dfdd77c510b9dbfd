package vhdx

import (
	"encoding/binary"
	"io"

	"github.com/fastimage/fastimage/internal/imagefmt"
)

// A log is a ring of entries, each a whole number of 4 KiB sectors:
//
//	header, descriptors of 32 bytes | data sector for each "desc" descriptor
//
// An entry is valid when its checksum is right and it has the header's log GUID.
// The one with the highest sequence number is the head; it names the tail, and
// everything from there to the head is to be written to the file in order. Here
// it is written to memory: the file stays as it is.

const (
	entryHeaderSize = 64

	// maxZeros bounds the ranges of zeros in a log, each of which every read has
	// to look at. Metadata, which is all a log is about, needs a few at most.
	maxZeros = 1024
	// maxWork is how often the search may sum the whole log: entries do not
	// overlap, but for remains of old ones.
	maxWork = 8
)

// replay collects what the log says about the file.
type replay struct {
	ra       io.ReaderAt
	fileSize int64
	at       int64  // of the log in the file
	ring     []byte // the log
	guid     guid
	patches  map[int64][]byte // by offset in the file, a sector each
	zeros    []span
	entries  int
	// work is how many bytes may still be summed in the search for entries.
	work int64
	// extended is how long the file is to be: its writer had it grow.
	extended int64
}

// span is a range of the file that the log made zeros. Patches left are younger.
type span struct{ start, end int64 }

// entry is a valid log entry.
type entry struct {
	at       int64 // in the ring
	size     int64
	tail     int64
	sequence uint64
	count    int64
	flushed  uint64
	last     uint64
	data     []byte // the entry, unrolled
}

// replayLog reads the log of h and replays it. The ring is bounded by the file.
func replayLog(ra io.ReaderAt, size int64, h header, maxLog int64) (*replay, error) {
	n, at := int64(h.logLength), int64(h.logAt)
	if n == 0 || n%mib != 0 || h.logAt%mib != 0 || h.logAt < tablesEnd {
		return nil, format.Damaged(h.at+68, "log", "%d bytes at %d", h.logLength, h.logAt)
	}
	if h.logAt > uint64(size) || n > size-at {
		return nil, format.Truncated(h.at+68, "log", "%d bytes at %d are outside the file", h.logLength, h.logAt)
	}
	if n > maxLog {
		return nil, format.Unsupported(h.at+68, "log", "%d bytes to replay, more than the bound of %d; repair the image with qemu-img check -r all", n, maxLog)
	}
	l := &replay{ra: ra, fileSize: size, at: at, ring: make([]byte, n), guid: h.logGUID, patches: make(map[int64][]byte), extended: size}
	if err := readFull(ra, l.ring, at, "log"); err != nil {
		return nil, err
	}
	l.work = maxWork * n
	active := l.active()
	if l.work < 0 {
		return nil, format.Damaged(at, "log", "its entries overlap")
	}
	if len(active) == 0 {
		return nil, format.Damaged(at, "log", "is to be replayed and has no valid entry")
	}
	l.entries = len(active)
	head := active[len(active)-1]
	if head.flushed > uint64(size) {
		return nil, format.Truncated(at+head.at+48, "log", "was written for a file of %d bytes, the file is truncated", head.flushed)
	}
	if head.last > maxSize*2 {
		return nil, format.Damaged(at+head.at+56, "log", "extends the file to %d bytes", head.last)
	}
	l.extended = max(size, int64(head.last))
	for _, e := range active {
		if err := l.apply(e); err != nil {
			return nil, err
		}
	}
	l.ring = nil
	return l, nil
}

// active finds the sequence of entries to replay: of all runs with consecutive
// numbers the one with the highest, from the tail that its head names.
func (l *replay) active() []entry {
	var best []entry
	n := int64(len(l.ring))
	for at := int64(0); at < n; {
		var run []entry
		total := int64(0)
		for pos := at; total < n; {
			e, ok := l.parse(pos)
			if !ok || len(run) > 0 && e.sequence != run[len(run)-1].sequence+1 {
				break
			}
			run = append(run, e)
			total += e.size
			pos = (pos + e.size) % n
		}
		if len(run) == 0 {
			at += logSector
			continue
		}
		head := run[len(run)-1]
		if len(best) == 0 || head.sequence > best[len(best)-1].sequence {
			for i, e := range run {
				if e.at == head.tail {
					best = run[i:]
					break
				}
			}
		}
		at += total // may wrap, which ends the search: a run was seen whole
	}
	return best
}

// parse reads the entry at pos of the ring.
func (l *replay) parse(pos int64) (entry, bool) {
	le, b := binary.LittleEndian, l.ring[pos:]
	if string(b[:4]) != "loge" || guid(b[32:48]) != l.guid {
		return entry{}, false
	}
	e := entry{
		at: pos, size: int64(le.Uint32(b[8:])), tail: int64(le.Uint32(b[12:])), sequence: le.Uint64(b[16:]),
		count: int64(le.Uint32(b[24:])), flushed: le.Uint64(b[48:]), last: le.Uint64(b[56:]),
	}
	if e.size == 0 || e.size%logSector != 0 || e.size > int64(len(l.ring)) || e.sequence == 0 || e.tail%logSector != 0 {
		return entry{}, false
	}
	if e.count > (e.size-entryHeaderSize)/32 {
		return entry{}, false
	}
	if l.work -= e.size; l.work < 0 {
		return entry{}, false
	}
	e.data = b[:min(e.size, int64(len(b)))]
	if rest := e.size - int64(len(e.data)); rest > 0 {
		e.data = append(append(make([]byte, 0, e.size), e.data...), l.ring[:rest]...)
	}
	return e, checksumOK(e.data)
}

// apply replays one entry.
func (l *replay) apply(e entry) error {
	le := binary.LittleEndian
	next := imagefmt.CeilDiv(entryHeaderSize+e.count*32, logSector) * logSector // the first data sector
	for i := range e.count {
		d := e.data[entryHeaderSize+i*32:][:32]
		at := l.at + e.at
		fileAt := le.Uint64(d[16:])
		if le.Uint64(d[24:]) != e.sequence || fileAt%logSector != 0 || fileAt >= uint64(l.extended) {
			return format.Damaged(at, "log descriptor", "%d of the entry: file offset %d, sequence %d", i, fileAt, le.Uint64(d[24:]))
		}
		switch string(d[:4]) {
		case "zero":
			n := le.Uint64(d[8:])
			if n%logSector != 0 || n > uint64(l.extended)-fileAt {
				return format.Damaged(at, "log descriptor", "%d zeros at %d", n, fileAt)
			}
			if len(l.zeros) == maxZeros {
				return format.Unsupported(at, "log", "more than %d ranges of zeros; repair the image with qemu-img check -r all", maxZeros)
			}
			l.zero(int64(fileAt), int64(fileAt+n))
		case "desc":
			if next+logSector > e.size {
				return format.Damaged(at, "log descriptor", "%d of the entry has no data sector", i)
			}
			sector := e.data[next : next+logSector]
			next += logSector
			seq := uint64(le.Uint32(sector[4:]))<<32 | uint64(le.Uint32(sector[4092:]))
			if string(sector[:4]) != "data" || seq != e.sequence {
				return format.Damaged(at, "log data sector", "%d of the entry is of sequence %d", i, seq)
			}
			// Its own marks displaced the first 8 and last 4 bytes.
			p := make([]byte, logSector)
			copy(p, sector)
			copy(p, d[8:16])
			copy(p[4092:], d[4:8])
			l.patches[int64(fileAt)] = p
		default:
			return format.Damaged(at, "log descriptor", "%q", d[:4])
		}
	}
	return nil
}

// zero forgets the patches in a range, and remembers that what the file has
// there is gone.
func (l *replay) zero(start, end int64) {
	for at := range l.patches {
		if at >= start && at < end {
			delete(l.patches, at)
		}
	}
	l.zeros = append(l.zeros, span{start, end})
}

// ReadAt reads the file as it is after the replay, up to its extended size.
func (l *replay) ReadAt(p []byte, off int64) (int, error) {
	n := int64(len(p))
	if off < 0 || n > l.extended-off {
		return 0, io.ErrUnexpectedEOF
	}
	have := min(max(l.fileSize-off, 0), n)
	clear(p[have:])
	if have > 0 {
		if err := readFull(l.ra, p[:have], off, "file"); err != nil {
			return 0, err
		}
	}
	for _, z := range l.zeros {
		if lo, hi := max(z.start, off), min(z.end, off+n); lo < hi {
			clear(p[lo-off : hi-off])
		}
	}
	if len(l.patches) == 0 {
		return len(p), nil
	}
	for at := off / logSector * logSector; at < off+n; at += logSector {
		if b := l.patches[at]; b != nil {
			lo, hi := max(at, off), min(at+logSector, off+n)
			copy(p[lo-off:hi-off], b[lo-at:hi-at])
		}
	}
	return len(p), nil
}
