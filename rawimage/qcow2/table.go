package qcow2

import (
	"encoding/binary"
	"math/bits"
)

// kind is the state of a cluster or subcluster.
type kind uint8

const (
	kindUnallocated kind = iota // in the backing file, or zeros
	kindZero
	kindData
	kindCompressed
)

// mapping says where a run of bytes of the disk is.
type mapping struct {
	kind   kind
	length int64
	host   int64  // kindData: place of the first byte in the data file
	entry  uint64 // kindCompressed: the L2 entry
	at     int64  // place of the L2 entry in the image
}

// locate maps the bytes of the disk at off, up to want of them: as many as are
// of one kind and, when they are data, in one piece. It looks no further than
// the slice of the L2 table.
func (r *Reader) locate(off, want int64) (mapping, error) {
	if r.l1[off/r.geo.l2Span] == 0 {
		return mapping{kind: kindUnallocated, length: min(r.geo.l2Span-off%r.geo.l2Span, want)}, nil
	}
	s, err := r.slice(off)
	if err != nil {
		return mapping{}, err
	}
	m, err := r.unit(s, off)
	if err != nil {
		return m, err
	}
	for m.length < want && m.kind != kindCompressed && off+m.length < s.end {
		next, err := r.unit(s, off+m.length)
		if err != nil || next.kind != m.kind || m.kind == kindData && next.host != m.host+m.length {
			break // an error shows when the read gets there
		}
		m.length += next.length
	}
	m.length = min(m.length, want)
	return m, nil
}

// run is as locate, for extents: data in one or more pieces, compressed or
// not, counts as kindData. It ends with the slice of the L2 table at the
// latest, or with the last of adjacent L1 entries that have none.
func (r *Reader) run(off int64) (k kind, end int64, err error) {
	if r.l1[off/r.geo.l2Span] == 0 {
		i := off/r.geo.l2Span + 1
		for i < int64(len(r.l1)) && r.l1[i] == 0 {
			i++
		}
		return kindUnallocated, min(i*r.geo.l2Span, r.Size()), nil
	}
	s, err := r.slice(off)
	if err != nil {
		return 0, 0, err
	}
	end = off
	for end < s.end {
		m, err := r.unit(s, end)
		if err != nil && end == off {
			return 0, 0, err
		} else if err != nil {
			break // shows when the caller gets there
		}
		if m.kind == kindCompressed {
			m.kind = kindData
		}
		if end == off {
			k = m.kind
		} else if m.kind != k {
			break
		}
		end += m.length
	}
	return k, min(end, r.Size()), nil
}

// slice is the part of an L2 table that maps the disk from start to end.
type slice struct {
	data       []byte
	off        int64 // in the image
	start, end int64
}

// slice reads the part of the L2 table for off, which there must be.
func (r *Reader) slice(off int64) (slice, error) {
	g := &r.geo
	start := off - off%g.sliceSpan
	at := int64(r.l1[off/g.l2Span]) + start%g.l2Span/g.sliceSpan*g.sliceSize
	data, err := r.slices.Get(blockKey{r, uint64(at)}, g.sliceSize, func() ([]byte, error) {
		p := make([]byte, g.sliceSize)
		if err := readFull(r.ra, p, at); err != nil {
			return nil, err
		}
		return p, r.enter(slice{p, at, start, min(start+g.sliceSpan, r.Size())})
	})
	return slice{data, at, start, min(start+g.sliceSpan, r.Size())}, err
}

// unit maps the cluster off is in, or the subclusters of one kind, from off on.
func (r *Reader) unit(s slice, off int64) (mapping, error) {
	g := &r.geo
	i := (off - s.start) >> g.clusterBits * g.entrySize
	entry := binary.BigEndian.Uint64(s.data[i:])
	m := mapping{at: s.off + i, length: g.unit - off&(g.unit-1)}
	if entry&flagCompressed != 0 {
		m.kind, m.entry = kindCompressed, entry&^flagCopied
		m.length = g.clusterSize - off&(g.clusterSize-1)
		return m, r.checkCompressed(m)
	}
	host := int64(entry & offsetMask)
	// Offset 0 is a cluster only in an external data file.
	allocated := host != 0 || r.incompatible&featDataFile != 0 && entry&flagCopied != 0
	var err error
	if g.extended {
		bitmap := binary.BigEndian.Uint64(s.data[i+8:])
		err = r.subcluster(&m, bitmap, off, allocated)
	} else {
		m.kind, err = r.cluster(m, entry, allocated)
	}
	if err != nil || m.kind != kindData {
		return m, err
	}
	if err := r.checkHost(m, host, off); err != nil {
		return m, err
	}
	m.host = host + off&(g.clusterSize-1)
	return m, nil
}

// cluster is the kind of a standard cluster.
func (r *Reader) cluster(m mapping, entry uint64, allocated bool) (kind, error) {
	switch {
	case entry&flagZero != 0 && r.version < 3:
		return 0, format.Damaged(m.at, "L2 entry", "zero cluster in an image of version %d", r.version)
	case entry&flagZero != 0:
		return kindZero, nil
	case allocated:
		return kindData, nil
	}
	return kindUnallocated, nil
}

// subcluster sets the kind of the subcluster off is in, and the length to that
// of it and those after it in the cluster that are of the same kind.
func (r *Reader) subcluster(m *mapping, bitmap uint64, off int64, allocated bool) error {
	stored, zero := uint32(bitmap), uint32(bitmap>>32)
	if stored&zero != 0 {
		return format.Damaged(m.at+8, "subcluster bitmap", "%#x has subclusters that are both allocated and zero", bitmap)
	}
	if stored != 0 && !allocated {
		return format.Damaged(m.at+8, "subcluster bitmap", "%#x has allocated subclusters in a cluster without a place", bitmap)
	}
	i := uint(off & (r.geo.clusterSize - 1) / r.geo.unit)
	alike := ^(stored | zero)
	switch {
	case zero>>i&1 != 0:
		m.kind, alike = kindZero, zero
	case stored>>i&1 != 0:
		m.kind, alike = kindData, stored
	}
	// Ones from bit i on; what is shifted in counts as the end.
	n := int64(bits.TrailingZeros32(^(alike >> i)))
	m.length += (n - 1) * r.geo.unit
	return nil
}

// checkCompressed checks the place of a compressed cluster.
func (r *Reader) checkCompressed(m mapping) error {
	if r.incompatible&featDataFile != 0 {
		return format.Damaged(m.at, "L2 entry", "compressed cluster in an image with an external data file")
	}
	if off, _ := r.geo.compressed(m.entry); off >= r.size {
		return format.Truncated(m.at, "L2 entry", "compressed cluster at %#x is beyond the end of the file", off)
	}
	return nil
}

// checkHost checks the place of a cluster that is stored as it is. One that the
// file does not hold is not zeros, it is missing: whoever writes images makes the
// file as long as its clusters.
func (r *Reader) checkHost(m mapping, host, off int64) error {
	// What the disk does not reach of its last cluster need not be there.
	need := min(r.geo.clusterSize, r.Size()-off&^(r.geo.clusterSize-1))
	switch {
	case r.geo.extended: // only the subclusters in use
		need = off&(r.geo.clusterSize-1) + min(m.length, r.Size()-off)
	case r.incompatible&featDataFile != 0:
		need = 1 // a file of its own, which qemu-img leaves as short as its data
	}
	switch {
	case host&(r.geo.clusterSize-1) != 0:
		return format.Damaged(m.at, "L2 entry", "cluster at %#x is not at a cluster boundary", host)
	case r.incompatible&featDataFile != 0 && host != off&^(r.geo.clusterSize-1):
		return format.Damaged(m.at, "L2 entry", "cluster at %#x of the external data file is not at its place on the disk", host)
	case host > r.dataSize-need:
		return format.Truncated(m.at, "L2 entry", "cluster at %#x is beyond the end of the file", host)
	}
	return nil
}
