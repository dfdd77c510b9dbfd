package probe

import "github.com/fastimage/fastimage/rawimage/guest/internal/vfs"

// xfsDirty reports whether the log of an XFS must be replayed: whether the last
// record in it is not the one that unmounting writes. What cannot be read is not
// called dirty.
func xfsDirty(v *volume) bool {
	sb := v.head
	block, agBlocks := int64(be.Uint32(sb[4:])), int64(be.Uint32(sb[84:]))
	start, blocks := be.Uint64(sb[48:]), int64(be.Uint32(sb[96:]))
	agLog := uint(sb[124])
	if start == 0 || blocks == 0 || agLog > 31 || block < 512 || block > 65536 {
		return false // an external log
	}
	at := (int64(start>>agLog)*agBlocks + int64(start&(1<<agLog-1))) * block
	n := blocks * block / 512
	l := &xfsLog{v: v, at: at, n: n}
	if at < 0 || n <= 0 || at > v.size || n*512 > v.size-at {
		return false
	}
	clean, ok := l.clean()
	return ok && !clean
}

type xfsLog struct {
	v     *volume
	at, n int64 // offset, sectors
}

func (l *xfsLog) sector(i int64) ([]byte, bool) {
	p := make([]byte, 512)
	return p, vfs.ReadFull(l.v.ra, p, l.at+(i+l.n)%l.n*512) == nil
}

// cycle returns the number of the round in which a sector was written.
func (l *xfsLog) cycle(i int64) (uint32, bool) {
	p, ok := l.sector(i)
	if be.Uint32(p) == xlogMagic {
		return be.Uint32(p[4:]), ok
	}
	return be.Uint32(p), ok
}

const (
	xlogMagic   = 0xfeedbabe
	unmountFlag = 0x20
	maxRecord   = 1024 // sectors: 256 KiB of data and headers
)

// clean finds the head of the log, where the cycle falls, by bisection, then
// looks at the record before it.
func (l *xfsLog) clean() (clean, ok bool) {
	first, ok1 := l.cycle(0)
	last, ok2 := l.cycle(l.n - 1)
	if !ok1 || !ok2 {
		return false, false
	}
	head := l.n
	if first != last {
		lo, hi := int64(0), l.n-1 // lo has the cycle of the first sector, hi has not
		for hi-lo > 1 {
			mid := (lo + hi) / 2
			c, ok := l.cycle(mid)
			if !ok {
				return false, false
			}
			if c == first {
				lo = mid
			} else {
				hi = mid
			}
		}
		head = hi
	}
	return l.unmounted(head)
}

func (l *xfsLog) unmounted(head int64) (clean, ok bool) {
	for i := int64(1); i <= min(maxRecord, l.n); i++ {
		p, ok := l.sector(head - i)
		if !ok {
			return false, false
		}
		if be.Uint32(p) != xlogMagic {
			continue
		}
		ops := be.Uint32(p[40:])
		headers := int64(1)
		if size := int64(be.Uint32(p[320:])); be.Uint32(p[8:])&2 != 0 && size > 32<<10 && size <= 256<<10 {
			headers = (size + 32<<10 - 1) / (32 << 10)
		}
		op, ok := l.sector(head - i + headers)
		return ops == 1 && op[9]&unmountFlag != 0, ok
	}
	return true, true // an empty log
}
