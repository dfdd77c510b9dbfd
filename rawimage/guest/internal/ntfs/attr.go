package ntfs

import (
	"unicode/utf16"

	"github.com/fastimage/fastimage/rawimage/guest/internal/vfs"
)

// attribute is one attribute of a file: its value, or where that is.
type attribute struct {
	kind     uint32
	name     string
	flags    uint16
	resident bool
	value    []byte
	size     int64
	runs     []vfs.Extent
}

func (n *node) attr(kind uint32, name string) (*attribute, bool) {
	for i := range n.list {
		if a := &n.list[i]; a.kind == kind && a.name == name {
			return a, true
		}
	}
	return nil, false
}

// attrs adds the attributes of a record. Parts of one attribute follow one
// another.
func (n *node) attrs(p []byte) error {
	at := int(le.Uint16(p[0x14:]))
	for at+16 <= len(p) {
		kind, length := le.Uint32(p[at:]), int(le.Uint32(p[at+4:]))
		if kind == 0xffffffff {
			return nil
		}
		if length < 24 || length > len(p)-at || len(n.list) == maxAttrs {
			return vfs.Damaged("NTFS: record %d: attribute of %d bytes", n.id, length)
		}
		if err := n.add(kind, p[at:at+length]); err != nil {
			return err
		}
		at += length
	}
	return nil
}

func (n *node) add(kind uint32, p []byte) error {
	a := attribute{kind: kind, flags: le.Uint16(p[12:]), resident: p[8] == 0}
	if k, off := int(p[9]), int(le.Uint16(p[10:])); k > 0 {
		if off+k*2 > len(p) {
			return vfs.Damaged("NTFS: record %d: attribute's name", n.id)
		}
		a.name = text(p[off : off+k*2])
	}
	if a.resident {
		size, off := int(le.Uint32(p[16:])), int(le.Uint16(p[20:]))
		if size < 0 || off > len(p) || size > len(p)-off {
			return vfs.Damaged("NTFS: record %d: resident value of %d bytes", n.id, size)
		}
		a.value, a.size = p[off:off+size], int64(size)
		n.list = append(n.list, a)
		return nil
	}
	if len(p) < 64 {
		return vfs.Damaged("NTFS: record %d: attribute", n.id)
	}
	vcn, off := int64(le.Uint64(p[16:])), int(le.Uint16(p[32:]))
	if off > len(p) || vcn < 0 {
		return vfs.Damaged("NTFS: record %d: runs", n.id)
	}
	into := &a
	if old, ok := n.attr(kind, a.name); ok && vcn > 0 {
		into = old
	} else {
		a.size = int64(le.Uint64(p[48:]))
		if a.size < 0 {
			return vfs.Damaged("NTFS: record %d: size", n.id)
		}
	}
	if err := n.fs.runs(into, vcn, p[off:]); err != nil {
		return err
	}
	if into == &a {
		n.list = append(n.list, a)
	}
	return nil
}

// runs decodes a list of runs: a byte with the sizes of two numbers, a count of
// clusters and the distance from the run before.
func (f *FS) runs(a *attribute, vcn int64, p []byte) error {
	lcn := int64(0)
	for len(p) > 0 && p[0] != 0 {
		n, m := int(p[0]&15), int(p[0]>>4)
		if n == 0 || n > 8 || m > 8 || 1+n+m > len(p) || len(a.runs) == maxRuns {
			return vfs.Damaged("NTFS: run list")
		}
		count, delta := signed(p[1:1+n]), signed(p[1+n:1+n+m])
		lcn += delta
		if count <= 0 || count > 1<<40 || vcn > 1<<40 {
			return vfs.Damaged("NTFS: run of %d clusters", count)
		}
		if k := len(a.runs); k > 0 && a.runs[k-1].Logical+a.runs[k-1].Length > vcn*f.cluster {
			return vfs.Damaged("NTFS: runs overlap")
		}
		x := vfs.Extent{Logical: vcn * f.cluster, Physical: lcn * f.cluster, Length: count * f.cluster, Zero: m == 0}
		if !x.Zero && (lcn < 0 || lcn > f.size/f.cluster) {
			return vfs.Damaged("NTFS: run at cluster %d", lcn)
		}
		a.runs = append(a.runs, x)
		vcn += count
		p = p[1+n+m:]
	}
	return nil
}

func signed(p []byte) (v int64) {
	for i, b := range p {
		v |= int64(b) << (8 * i)
	}
	if k := len(p); k > 0 && k < 8 && p[k-1]&0x80 != 0 {
		v -= 1 << (8 * k)
	}
	return v
}

// more adds attributes that are in other records.
func (n *node) more() error {
	list, ok := n.attr(attrList, "")
	if !ok {
		return nil
	}
	if list.size > 1<<20 {
		return vfs.Damaged("NTFS: record %d: attribute list of %d bytes", n.id, list.size)
	}
	p := make([]byte, list.size)
	if k, err := n.fs.readAttr(list, p, 0); k < len(p) {
		return err
	}
	seen := map[uint64]bool{n.id: true}
	for len(p) >= 26 {
		length, id := int(le.Uint16(p[4:])), le.Uint64(p[16:])&(1<<48-1)
		if length < 26 || length > len(p) {
			return vfs.Damaged("NTFS: record %d: attribute list", n.id)
		}
		p = p[length:]
		if seen[id] {
			continue
		}
		if seen[id] = true; len(seen) > maxRecords {
			return vfs.ErrTooLarge
		}
		raw, err := n.fs.raw(id)
		if err != nil {
			return err
		}
		if err := n.attrs(raw); err != nil {
			return err
		}
	}
	return nil
}

func text(p []byte) string {
	u := make([]uint16, len(p)/2)
	for i := range u {
		u[i] = le.Uint16(p[i*2:])
	}
	return string(utf16.Decode(u))
}
