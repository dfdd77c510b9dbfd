package disk

import (
	"encoding/binary"
	"strings"
	"unicode/utf16"
)

// maxDir bounds what is read of one directory: 8192 entries.
const maxDir = 256 << 10

// fat reads directories of a FAT volume, of all three widths. Everything in it
// is hostile; what makes no sense ends a directory.
type fat struct {
	in       *inspector
	size     int64 // of the volume
	base     int64 // on the disk
	cluster  int64 // bytes
	table    int64 // offset of the first FAT in the volume
	data     int64 // offset of cluster 2
	clusters uint32
	bits     int // 12, 16 or 32
	rootAt   int64
	rootLen  int64  // FAT12, FAT16
	rootNum  uint32 // FAT32
}

// openFAT returns nil if the numbers of the boot sector make no sense.
func (in *inspector) openFAT(base, size int64) (*fat, error) {
	if size < 512 {
		return nil, nil
	}
	p, err := in.read(base, 512)
	if err != nil || p == nil {
		return nil, err
	}
	sector := int64(binary.LittleEndian.Uint16(p[11:]))
	reserved, copies := int64(binary.LittleEndian.Uint16(p[14:])), int64(p[16])
	rootEntries := int64(binary.LittleEndian.Uint16(p[17:]))
	total, perFAT := int64(binary.LittleEndian.Uint16(p[19:])), int64(binary.LittleEndian.Uint16(p[22:]))
	if total == 0 {
		total = int64(binary.LittleEndian.Uint32(p[32:]))
	}
	v := &fat{in: in, base: base, size: size, cluster: sector * int64(p[13])}
	if perFAT == 0 {
		perFAT = int64(binary.LittleEndian.Uint32(p[36:]))
		v.rootNum = binary.LittleEndian.Uint32(p[44:])
	}
	if !power2(sector) || sector < 512 || sector > 4096 || !power2(int64(p[13])) || reserved == 0 || copies == 0 || perFAT == 0 {
		return nil, nil
	}
	v.table = reserved * sector
	v.rootAt = v.table + copies*perFAT*sector
	v.rootLen = rootEntries * 32
	v.data = v.rootAt + (v.rootLen+sector-1)/sector*sector
	if v.data >= total*sector || v.data >= size {
		return nil, nil
	}
	n := (total*sector - v.data) / v.cluster
	v.clusters = uint32(min(n, perFAT*sector)) // no FAT has more entries than bytes
	switch {
	case n < 4085:
		v.bits = 12
	case n < 65525:
		v.bits = 16
	default:
		v.bits = 32
	}
	return v, nil
}

func power2(n int64) bool { return n > 0 && n&(n-1) == 0 }

// read reads within the volume; nil past its end.
func (v *fat) read(off int64, n int) ([]byte, error) {
	if off < 0 || off > v.size || int64(n) > v.size-off {
		return nil, nil
	}
	return v.in.read(v.base+off, n)
}

// next follows a chain; 0 at its end, and where it makes no sense.
func (v *fat) next(c uint32) (uint32, error) {
	off, n := v.table+int64(c)*int64(v.bits)/8, (v.bits+7)/8
	p, err := v.read(off, n)
	if err != nil || p == nil {
		return 0, err
	}
	var e uint32
	switch v.bits {
	case 12:
		e = uint32(binary.LittleEndian.Uint16(p))
		if c&1 != 0 {
			e >>= 4
		}
		e &= 0xfff
	case 16:
		e = uint32(binary.LittleEndian.Uint16(p))
	default:
		e = binary.LittleEndian.Uint32(p) & 0x0fffffff
	}
	if !v.valid(e) {
		return 0, nil
	}
	return e, nil
}

func (v *fat) valid(c uint32) bool { return c >= 2 && c-2 < v.clusters }

type fatEntry struct {
	name  string
	dir   bool
	first uint32
}

// dir reads the directory that begins in a cluster, the root for 0. A chain that
// loops ends where maxDir bytes have been read.
func (v *fat) dir(c uint32) ([]fatEntry, error) {
	var raw []byte
	if c == 0 && v.bits != 32 {
		p, err := v.read(v.rootAt, int(min(v.rootLen, maxDir)))
		return fatEntries(p), err
	}
	if c == 0 {
		c = v.rootNum
	}
	for v.valid(c) && int64(len(raw)) < maxDir {
		p, err := v.read(v.data+int64(c-2)*v.cluster, int(v.cluster))
		if err != nil || p == nil {
			return fatEntries(raw), err
		}
		raw = append(raw, p...)
		if c, err = v.next(c); err != nil {
			return nil, err
		}
	}
	return fatEntries(raw), nil
}

// sub reads the directory of a name, without regard to case; none if there is no
// such directory.
func (v *fat) sub(in []fatEntry, name string) ([]fatEntry, error) {
	for _, e := range in {
		if e.dir && e.first != 0 && strings.EqualFold(e.name, name) {
			return v.dir(e.first)
		}
	}
	return nil, nil
}

// fatEntries takes a directory apart. Long names come in entries before their
// short one, last part first.
func fatEntries(raw []byte) (all []fatEntry) {
	var long []uint16
	for ; len(raw) >= 32 && raw[0] != 0; raw = raw[32:] {
		e := raw[:32]
		switch {
		case e[0] == 0xe5: // deleted
			long = nil
			continue
		case e[11] == 0x0f:
			if long = append(longPart(e), long...); len(long) > 260 {
				long = nil
			}
			continue
		case e[11]&0x08 != 0: // volume label
			long = nil
			continue
		}
		name := shortName(e)
		if len(long) > 0 {
			name = string(utf16.Decode(long))
		}
		long = nil
		all = append(all, fatEntry{name, e[11]&0x10 != 0,
			uint32(binary.LittleEndian.Uint16(e[20:]))<<16 | uint32(binary.LittleEndian.Uint16(e[26:]))})
	}
	return all
}

func longPart(e []byte) (u []uint16) {
	for _, r := range [][2]int{{1, 11}, {14, 26}, {28, 32}} {
		for i := r[0]; i < r[1]; i += 2 {
			c := binary.LittleEndian.Uint16(e[i:])
			if c == 0 || c == 0xffff {
				return u
			}
			u = append(u, c)
		}
	}
	return u
}

func shortName(e []byte) string {
	name, ext := strings.TrimRight(string(e[:8]), " "), strings.TrimRight(string(e[8:11]), " ")
	if e[12]&0x08 != 0 { // Windows NT's flags for names all in lower case
		name = strings.ToLower(name)
	}
	if e[12]&0x10 != 0 {
		ext = strings.ToLower(ext)
	}
	if ext != "" {
		name += "." + ext
	}
	return name
}
