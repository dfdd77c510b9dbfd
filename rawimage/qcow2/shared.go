package qcow2

import (
	"encoding/binary"
	"iter"
	"sync"
)

// enter refuses a slice of an L2 table with clusters that share bytes of the file
// with others, of this slice or of one entered before. Within one disk no writer
// makes such, and they would let a small file stand for any amount of data.
func (r *Reader) enter(s slice) error {
	if r.incompatible&featDataFile != 0 {
		return nil // each cluster has to be at its place on the disk
	}
	if u, ok := r.ledger.Enter(s.off/r.geo.sliceSize, r.clustersOf(s)); !ok {
		return format.Damaged(s.off, "L2 table", "the cluster at %#x is used twice", u<<r.geo.clusterBits)
	}
	if at, ok := r.crowded.enter(s.off, r.compressedOf(s), r.geo.clusterBits, r.compression); !ok {
		return format.Damaged(s.off, "L2 table", "the compressed cluster at %#x shares its bytes with others", at)
	}
	return nil
}

// entries are the L2 entries of a slice, as far as the disk goes.
func (r *Reader) entries(s slice) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		g := &r.geo
		n := (s.end - s.start + g.clusterSize - 1) >> g.clusterBits
		for i := range n {
			if !yield(binary.BigEndian.Uint64(s.data[i*g.entrySize:])) {
				return
			}
		}
	}
}

// clustersOf are the clusters of the file that hold clusters as they are. A zero
// cluster may keep one.
func (r *Reader) clustersOf(s slice) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for e := range r.entries(s) {
			host := int64(e & offsetMask)
			if e&flagCompressed == 0 && host != 0 && (r.geo.extended || e&flagZero == 0) && !yield(host>>r.geo.clusterBits) {
				return
			}
		}
	}
}

// compressedOf are the places of compressed clusters.
func (r *Reader) compressedOf(s slice) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for e := range r.entries(s) {
			if e&flagCompressed == 0 {
				continue
			}
			if off, _ := r.geo.compressed(e); !yield(off) {
				return
			}
		}
	}
}

// crowd counts the compressed clusters that begin in each cluster of the file.
// They are packed byte by byte, so two may begin close to each other, but each
// takes some bytes: deflate expands at most 1032 times, and a frame of zstd has
// at least 12 bytes. The zero value is ready for use.
type crowd struct {
	mu      sync.Mutex     // guards the rest
	entered map[int64]bool // slices by offset; whether they are sound
	begin   map[int64]uint32
}

// enter counts the clusters of a slice that begin at offs. ok is false if two
// begin at the same place, or more begin in one cluster than fit.
func (c *crowd) enter(slice int64, offs iter.Seq[int64], clusterBits uint, compression byte) (at int64, ok bool) {
	least := max(int64(1)<<clusterBits/1032, 8)
	if compression == compressionZstd {
		least = 12
	}
	limit := uint32(int64(1)<<clusterBits/least) + 1
	c.mu.Lock()
	defer c.mu.Unlock()
	if sound, seen := c.entered[slice]; seen {
		return slice, sound
	}
	var starts map[int64]bool
	for off := range offs {
		if starts == nil {
			starts = make(map[int64]bool)
		}
		if c.begin == nil {
			c.begin, c.entered = make(map[int64]uint32), make(map[int64]bool)
		}
		n := c.begin[off>>clusterBits] + 1
		c.begin[off>>clusterBits] = n
		if starts[off] || n > limit {
			c.entered[slice] = false
			return off, false
		}
		starts[off] = true
	}
	if starts != nil {
		c.entered[slice] = true
	}
	return 0, true
}
