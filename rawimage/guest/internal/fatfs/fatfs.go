// Package fatfs reads FAT12, FAT16 and FAT32 file systems, hostile ones too.
package fatfs

import (
	"encoding/binary"
	"io"
	"io/fs"
	"strings"
	"sync"
	"time"
	"unicode/utf16"

	"github.com/fastimage/fastimage/rawimage/guest/internal/vfs"
)

const (
	rootID     = 1
	maxChain   = 1 << 20 // clusters of one file
	entrySize  = 32
	attrVolume = 0x08
	attrDir    = 0x10
	attrLong   = 0x0f
)

var le = binary.LittleEndian

// FS is a file system. The ID of a node is the offset of its directory entry.
type FS struct {
	ra       io.ReaderAt
	cluster  int64 // bytes
	fat      int64 // offset of the first table
	bits     int   // of an entry of the table
	clusters uint32
	data     int64  // offset of cluster 2
	rootAt   int64  // of FAT12 and FAT16
	rootSize int64  // bytes
	rootFrom uint32 // first cluster, of FAT32
}

// New opens the file system that ra, size bytes long, holds.
func New(ra io.ReaderAt, size int64) (*FS, error) {
	p := make([]byte, 512)
	if err := vfs.ReadFull(ra, p, 0); err != nil {
		return nil, err
	}
	sector, perCluster := int64(le.Uint16(p[11:])), int64(p[13])
	if sector < 512 || sector > 4096 || sector&(sector-1) != 0 || perCluster == 0 || perCluster&(perCluster-1) != 0 {
		return nil, vfs.Damaged("FAT boot sector")
	}
	reserved, fats, roots := int64(le.Uint16(p[14:])), int64(p[16]), int64(le.Uint16(p[17:]))
	total, perFAT := int64(le.Uint16(p[19:])), int64(le.Uint16(p[22:]))
	if total == 0 {
		total = int64(le.Uint32(p[32:]))
	}
	fat32 := perFAT == 0
	if fat32 {
		perFAT = int64(le.Uint32(p[36:]))
	}
	f := &FS{ra: ra, cluster: sector * perCluster, fat: reserved * sector, rootFrom: le.Uint32(p[44:])}
	f.rootAt = (reserved + fats*perFAT) * sector
	f.rootSize = (roots*entrySize + sector - 1) / sector * sector
	f.data = f.rootAt + f.rootSize
	if reserved == 0 || fats == 0 || perFAT == 0 || f.data >= total*sector || total*sector > size+sector {
		return nil, vfs.Damaged("FAT boot sector")
	}
	f.clusters = uint32(min((total*sector-f.data)/f.cluster, 1<<28))
	switch {
	case fat32:
		f.bits = 32
	case f.clusters < 4085:
		f.bits = 12
	default:
		f.bits = 16
	}
	return f, nil
}

// Root implements vfs.FileSystem.
func (f *FS) Root() uint64 { return rootID }

// FoldsCase implements vfs.FileSystem.
func (f *FS) FoldsCase() bool { return true }

// Open implements vfs.FileSystem.
func (f *FS) Open(id uint64) (vfs.Node, error) {
	if id == rootID {
		n := &node{fs: f, info: vfs.Info{Mode: fs.ModeDir | 0o755}, first: f.rootFrom}
		if f.bits != 32 {
			n.extents = []vfs.Extent{{Physical: f.rootAt, Length: f.rootSize}}
			n.mapped = true
			n.first = 0
		}
		return n, nil
	}
	e := make([]byte, entrySize)
	if err := vfs.ReadFull(f.ra, e, int64(id)); err != nil {
		return nil, err
	}
	n := &node{fs: f, first: uint32(le.Uint16(e[26:])) | uint32(le.Uint16(e[20:]))<<16}
	if f.bits != 32 {
		n.first &= 0xffff
	}
	n.info = vfs.Info{Mode: 0o644, Size: int64(le.Uint32(e[28:])), ModTime: dosTime(le.Uint16(e[24:]), le.Uint16(e[22:]))}
	if e[11]&attrDir != 0 {
		n.info.Mode, n.info.Size = fs.ModeDir|0o755, 0
	}
	return n, nil
}

func dosTime(d, t uint16) time.Time {
	return time.Date(1980+int(d>>9), time.Month(d>>5&15), int(d&31), int(t>>11), int(t>>5&63), int(t&31)*2, 0, time.UTC)
}

// next returns the cluster after c, 0 for the end of the chain.
func (f *FS) next(c uint32) (uint32, error) {
	var p [4]byte
	bit := int64(c) * int64(f.bits)
	n := 2
	if f.bits == 32 {
		n = 4
	}
	if err := vfs.ReadFull(f.ra, p[:n], f.fat+bit/8); err != nil {
		return 0, err
	}
	v, last := le.Uint32(p[:]), uint32(0x0ffffff7)
	switch f.bits {
	case 12:
		v, last = v>>(bit%8)&0xfff, 0xff7
	case 16:
		v, last = v&0xffff, 0xfff7
	default:
		v &= 0x0fffffff
	}
	if v >= last {
		return 0, nil
	}
	return v, nil
}

// chain follows the clusters from first until they hold size bytes.
func (f *FS) chain(first uint32, size int64) ([]vfs.Extent, error) {
	var list []vfs.Extent
	logical := int64(0)
	for c, n := first, 0; c != 0 && logical < size; n++ {
		if n == maxChain || c < 2 || c-2 >= f.clusters {
			return nil, vfs.Damaged("FAT: cluster %d of %d", c, f.clusters)
		}
		at := f.data + int64(c-2)*f.cluster
		if k := len(list); k > 0 && list[k-1].Physical+list[k-1].Length == at {
			list[k-1].Length += f.cluster
		} else {
			list = append(list, vfs.Extent{Logical: logical, Physical: at, Length: f.cluster})
		}
		logical += f.cluster
		var err error
		if c, err = f.next(c); err != nil {
			return nil, err
		}
	}
	return list, nil
}

type node struct {
	fs    *FS
	info  vfs.Info
	first uint32

	mu      sync.Mutex // guards what follows
	mapped  bool       // extents are known
	extents []vfs.Extent
}

// chain maps the first size bytes; for one node it is always called with the
// same size.
func (n *node) chain(size int64) (list []vfs.Extent, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.mapped {
		n.extents, err = n.fs.chain(n.first, size)
		n.mapped = err == nil
	}
	return n.extents, err
}

func (n *node) Info() vfs.Info { return n.info }

func (n *node) Readlink() (string, error) { return "", fs.ErrInvalid }

func (n *node) ReadAt(p []byte, off int64) (int, error) {
	extents, err := n.chain(n.info.Size)
	if err != nil {
		return 0, err
	}
	return vfs.ReadExtents(n.fs.ra, extents, n.info.Size, p, off)
}

func (n *node) List() (list []vfs.Entry, err error) {
	if !n.info.Mode.IsDir() {
		return nil, fs.ErrInvalid
	}
	extents, err := n.chain(vfs.MaxDirBytes / 16)
	if err != nil {
		return nil, err
	}
	long := longName{}
	for _, x := range extents {
		p := make([]byte, x.Length)
		if err := vfs.ReadFull(n.fs.ra, p, x.Physical); err != nil {
			return nil, err
		}
		for i := int64(0); i+entrySize <= x.Length; i += entrySize {
			e := p[i : i+entrySize]
			if e[0] == 0 {
				return list, nil
			}
			if name := long.take(e); name != "" && name != "." && name != ".." {
				list = append(list, vfs.Entry{Name: name, ID: uint64(x.Physical + i)})
			}
		}
	}
	return list, nil
}

// longName gathers a name from entries that come before the one it belongs to,
// its end first.
type longName struct {
	units []uint16
	sum   byte
}

// take returns the name of an entry, "" for one that has none of its own.
func (l *longName) take(e []byte) string {
	switch {
	case e[0] == 0xe5:
		l.units = nil
		return ""
	case e[11]&0x3f == attrLong:
		if e[0]&0x40 != 0 || e[13] != l.sum {
			l.units, l.sum = nil, e[13]
		}
		if len(l.units) < 260 {
			l.units = append(units(e), l.units...)
		}
		return ""
	case e[11]&attrVolume != 0:
		l.units = nil
		return ""
	}
	name := string(utf16.Decode(l.units))
	if l.units == nil || l.sum != checksum(e[:11]) {
		name = shortName(e)
	}
	l.units = nil
	return name
}

func units(e []byte) (u []uint16) {
	for _, r := range [][2]int{{1, 11}, {14, 26}, {28, 32}} {
		for i := r[0]; i < r[1]; i += 2 {
			c := le.Uint16(e[i:])
			if c == 0 {
				return u
			}
			u = append(u, c)
		}
	}
	return u
}

func checksum(name []byte) (sum byte) {
	for _, c := range name {
		sum = sum>>1 | sum<<7
		sum += c
	}
	return sum
}

func shortName(e []byte) string {
	base, ext := strings.TrimRight(string(e[:8]), " "), strings.TrimRight(string(e[8:11]), " ")
	if e[12]&0x08 != 0 {
		base = strings.ToLower(base)
	}
	if e[12]&0x10 != 0 {
		ext = strings.ToLower(ext)
	}
	if ext != "" {
		return base + "." + ext
	}
	return base
}
