// Package hive reads registry hives of Windows, hostile ones too. It reads values
// of up to a few KiB, and does not apply the hive's log.
package hive

import (
	"encoding/binary"
	"io"
	"strings"
	"unicode/utf16"

	"github.com/fastimage/fastimage/rawimage/guest/internal/vfs"
)

const (
	base      = 4096 // offset of the first cell
	maxCell   = 1 << 20
	maxKeys   = 1 << 17 // subkeys of one key
	maxLists  = 4096    // of subkeys of one key
	noCell    = 0xffffffff
	maxValues = 1 << 14
)

// Types of values.
const (
	String = 1
	Expand = 2
	DWord  = 4
	Multi  = 7
)

var le = binary.LittleEndian

// Hive is a registry hive.
type Hive struct {
	ra    io.ReaderAt
	root  uint32
	Dirty bool // the log has changes that the hive has not
}

// Open opens a hive.
func Open(ra io.ReaderAt) (*Hive, error) {
	p := make([]byte, 512)
	if err := vfs.ReadFull(ra, p, 0); err != nil {
		return nil, err
	}
	if string(p[:4]) != "regf" {
		return nil, vfs.Damaged("no registry hive")
	}
	return &Hive{ra: ra, root: le.Uint32(p[36:]), Dirty: le.Uint32(p[4:]) != le.Uint32(p[8:])}, nil
}

// cell reads a cell of at least n bytes.
func (h *Hive) cell(off uint32, n int) ([]byte, error) {
	var head [4]byte
	at := base + int64(off)
	if err := vfs.ReadFull(h.ra, head[:], at); err != nil {
		return nil, err
	}
	size := -int64(int32(le.Uint32(head[:]))) - 4
	if off == noCell || size < int64(n) || size > maxCell {
		return nil, vfs.Damaged("registry: cell of %d bytes at %#x", size, off)
	}
	p := make([]byte, size)
	return p, vfs.ReadFull(h.ra, p, at+4)
}

// Key is a key of the registry.
type Key struct {
	hive *Hive
	raw  []byte
}

func (h *Hive) key(off uint32) (*Key, error) {
	p, err := h.cell(off, 76)
	if err != nil {
		return nil, err
	}
	if string(p[:2]) != "nk" || 76+int(le.Uint16(p[72:])) > len(p) {
		return nil, vfs.Damaged("registry: no key at %#x", off)
	}
	return &Key{h, p}, nil
}

// Name returns the key's name.
func (k *Key) Name() string {
	p := k.raw[76 : 76+int(le.Uint16(k.raw[72:]))]
	return decode(p, le.Uint16(k.raw[2:])&0x20 != 0)
}

// decode decodes a name, which is Latin-1 or UTF-16.
func decode(p []byte, latin bool) string {
	u := make([]uint16, 0, len(p))
	for i := 0; i < len(p); i++ {
		if latin {
			u = append(u, uint16(p[i]))
		} else if i+1 < len(p) {
			u = append(u, le.Uint16(p[i:]))
			i++
		}
	}
	return string(utf16.Decode(u))
}

// Find returns the key of a path from the root, with backslashes; nil if there is
// none.
func (h *Hive) Find(path string) (*Key, error) {
	k, err := h.key(h.root)
	for _, name := range strings.Split(path, `\`) {
		if err != nil || k == nil {
			return nil, err
		}
		if name == "" {
			continue
		}
		k, err = k.sub(name)
	}
	return k, err
}

// sub returns a subkey by its name, nil if there is none.
func (k *Key) sub(name string) (found *Key, err error) {
	err = k.each(func(s *Key) bool {
		if strings.EqualFold(s.Name(), name) {
			found = s
		}
		return found == nil
	})
	return found, err
}

// Keys returns the subkeys, up to max.
func (k *Key) Keys(max int) (list []*Key, err error) {
	err = k.each(func(s *Key) bool {
		list = append(list, s)
		return len(list) < max
	})
	return list, err
}

// each calls f for the subkeys until it returns false. A list of lists is followed
// one level deep, as Windows writes it, so that a cycle ends.
func (k *Key) each(f func(*Key) bool) error {
	if le.Uint32(k.raw[20:]) == 0 || le.Uint32(k.raw[28:]) == noCell {
		return nil
	}
	p, err := k.hive.cell(le.Uint32(k.raw[28:]), 4)
	if err != nil {
		return err
	}
	if string(p[:2]) != "ri" {
		_, err := k.hive.list(p, maxKeys, f)
		return err
	}
	left := maxKeys
	for i := range min(int(le.Uint16(p[2:])), (len(p)-4)/4, maxLists) {
		sub, err := k.hive.cell(le.Uint32(p[4+i*4:]), 4)
		if err != nil {
			return err
		}
		n, err := k.hive.list(sub, left, f)
		if left -= n; err != nil || n < 0 || left <= 0 {
			return err
		}
	}
	return nil
}

// list calls f for the keys of a list, and returns how many there were, -1 if f
// wants no more.
func (h *Hive) list(p []byte, left int, f func(*Key) bool) (int, error) {
	stride := 8
	switch string(p[:2]) {
	case "lf", "lh":
	case "li":
		stride = 4
	default:
		return 0, vfs.Damaged("registry: list of keys")
	}
	n := min(int(le.Uint16(p[2:])), (len(p)-4)/stride, left)
	for i := range n {
		k, err := h.key(le.Uint32(p[4+i*stride:]))
		if err != nil {
			return 0, err
		}
		if !f(k) {
			return -1, nil
		}
	}
	return n, nil
}

// Value is a value of a key.
type Value struct {
	Name string
	Type uint32
	Data []byte
}

// Text returns the value as text, the first of several.
func (v Value) Text() string {
	s := decode(v.Data, false)
	s, _, _ = strings.Cut(s, "\x00")
	return s
}

// Number returns a value of the type DWORD.
func (v Value) Number() (uint32, bool) {
	if v.Type != DWord || len(v.Data) < 4 {
		return 0, false
	}
	return le.Uint32(v.Data), true
}

// Value returns a value by its name, and whether the key has it.
func (k *Key) Value(name string) (Value, bool, error) {
	n := int(le.Uint32(k.raw[36:]))
	if n == 0 || le.Uint32(k.raw[40:]) == noCell {
		return Value{}, false, nil
	}
	p, err := k.hive.cell(le.Uint32(k.raw[40:]), 4)
	if err != nil {
		return Value{}, false, err
	}
	for i := range min(n, len(p)/4, maxValues) {
		v, err := k.hive.value(le.Uint32(p[i*4:]), name)
		if err != nil || v.Name != "" || v.Type != 0 {
			return v, err == nil, err
		}
	}
	return Value{}, false, nil
}

// value reads a value if it has a name, else an empty one.
func (h *Hive) value(off uint32, name string) (Value, error) {
	p, err := h.cell(off, 20)
	if err != nil {
		return Value{}, err
	}
	k := int(le.Uint16(p[2:]))
	if string(p[:2]) != "vk" || 20+k > len(p) {
		return Value{}, vfs.Damaged("registry: no value at %#x", off)
	}
	v := Value{Name: decode(p[20:20+k], le.Uint16(p[16:])&1 != 0), Type: le.Uint32(p[12:])}
	if !strings.EqualFold(v.Name, name) {
		return Value{}, nil
	}
	size := le.Uint32(p[4:])
	if size&0x80000000 != 0 {
		v.Data = p[8 : 8+min(size&0x7fffffff, 4)]
		return v, nil
	}
	if v.Data, err = h.cell(le.Uint32(p[8:]), 0); err != nil {
		return Value{}, err
	}
	v.Data = v.Data[:min(len(v.Data), int(size))]
	return v, nil
}
