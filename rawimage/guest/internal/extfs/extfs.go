// Package extfs reads ext2, ext3 and ext4 file systems, hostile ones too. It
// does not replay the journal.
package extfs

import (
	"encoding/binary"
	"io"
	"io/fs"
	"time"

	"github.com/fastimage/fastimage/rawimage/guest/internal/vfs"
)

const (
	superblockAt = 1024
	rootInode    = 2
)

// Features of the superblock that change how a file system is read.
const (
	incompatCompression = 0x1
	incompatFileType    = 0x2
	incompatRecover     = 0x4
	incompatJournalDev  = 0x8
	incompatMetaBG      = 0x10
	incompat64Bit       = 0x80
	incompatInlineData  = 0x8000

	incompatKnown = 0x2 | 0x4 | 0x10 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x1000 | 0x2000 | 0x4000 | 0x8000 | 0x10000 | 0x20000
)

// Flags of an inode.
const (
	flagExtents    = 0x80000
	flagInlineData = 0x10000000
	flagEncrypted  = 0x800
)

// FS is a file system.
type FS struct {
	ra        io.ReaderAt
	size      int64
	block     int64
	blocks    int64
	first     int64 // first data block
	perGroup  int64 // inodes
	inodes    int64
	inodeSize int64
	descSize  int64
	groups    int64
	grpBlocks int64 // blocks per group
	metaBG    int64 // first group of blocks that hold their own descriptors; groups if there is none
	incompat  uint32
}

// New opens the file system that ra, size bytes long, holds.
func New(ra io.ReaderAt, size int64) (*FS, error) {
	sb := make([]byte, 1024)
	if err := vfs.ReadFull(ra, sb, superblockAt); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if le.Uint16(sb[0x38:]) != 0xef53 {
		return nil, vfs.Damaged("no ext superblock")
	}
	f := &FS{ra: ra, size: size, incompat: le.Uint32(sb[0x60:]), inodeSize: 128, descSize: 32}
	if f.incompat&^incompatKnown != 0 {
		return nil, vfs.Unsupported("ext features %#x", f.incompat&^incompatKnown)
	}
	logBlock := le.Uint32(sb[0x18:])
	if logBlock > 6 {
		return nil, vfs.Damaged("block size 2^%d KiB", logBlock)
	}
	f.block = 1024 << logBlock
	f.inodes, f.perGroup = int64(le.Uint32(sb)), int64(le.Uint32(sb[0x28:]))
	f.blocks, f.grpBlocks = int64(le.Uint32(sb[4:])), int64(le.Uint32(sb[0x20:]))
	f.first = int64(le.Uint32(sb[0x14:]))
	if le.Uint32(sb[0x4c:]) > 0 {
		f.inodeSize = int64(le.Uint16(sb[0x58:]))
	}
	if f.incompat&incompat64Bit != 0 {
		f.blocks |= int64(le.Uint32(sb[0x150:])&0xffff) << 32
		f.descSize = max(32, int64(le.Uint16(sb[0xfe:])))
	}
	if f.inodeSize < 128 || f.inodeSize > f.block || f.perGroup == 0 || f.grpBlocks == 0 ||
		f.blocks == 0 || f.blocks > size/f.block+1 || f.descSize > f.block || f.first > 1 {
		return nil, vfs.Damaged("ext superblock: %d blocks of %d bytes, inodes of %d bytes", f.blocks, f.block, f.inodeSize)
	}
	f.groups = (f.blocks - f.first + f.grpBlocks - 1) / f.grpBlocks
	f.metaBG = f.groups
	if f.incompat&incompatMetaBG != 0 {
		f.metaBG = int64(le.Uint32(sb[0x104:])) * (f.block / f.descSize)
	}
	return f, nil
}

// Root implements vfs.FileSystem.
func (f *FS) Root() uint64 { return rootInode }

// FoldsCase implements vfs.FileSystem.
func (f *FS) FoldsCase() bool { return false }

// inodeTable finds the table of inodes of a group of blocks.
func (f *FS) inodeTable(group int64) (int64, error) {
	perBlock := f.block / f.descSize
	at := (superblockAt/f.block+1)*f.block + group*f.descSize
	if group >= f.metaBG {
		start := group / perBlock * perBlock // first group of the meta group
		at = (start*f.grpBlocks + f.first) * f.block
		if hasSuper(start) {
			at += f.block
		}
		if start == 0 && f.first == 0 && f.block == superblockAt {
			at += f.block // the superblock is in block 1 all the same
		}
		at += group % perBlock * f.descSize
	}
	desc := make([]byte, f.descSize)
	if err := vfs.ReadFull(f.ra, desc, at); err != nil {
		return 0, err
	}
	table := int64(binary.LittleEndian.Uint32(desc[8:]))
	if f.descSize >= 64 {
		table |= int64(binary.LittleEndian.Uint32(desc[0x28:])) << 32
	}
	if table <= 0 || table >= f.blocks {
		return 0, vfs.Damaged("inode table of group %d at block %d", group, table)
	}
	return table * f.block, nil
}

// hasSuper reports whether a group begins with a copy of the superblock, as it
// does with the feature sparse_super.
func hasSuper(group int64) bool {
	if group <= 1 {
		return true
	}
	for _, base := range []int64{3, 5, 7} {
		n := base
		for n < group {
			n *= base
		}
		if n == group {
			return true
		}
	}
	return false
}

// Open implements vfs.FileSystem.
func (f *FS) Open(id uint64) (vfs.Node, error) {
	if id == 0 || id > uint64(f.inodes) {
		return nil, vfs.Damaged("inode %d of %d", id, f.inodes)
	}
	group, index := int64(id-1)/f.perGroup, int64(id-1)%f.perGroup
	if group >= f.groups {
		return nil, vfs.Damaged("inode %d in group %d of %d", id, group, f.groups)
	}
	table, err := f.inodeTable(group)
	if err != nil {
		return nil, err
	}
	raw := make([]byte, f.inodeSize)
	if err := vfs.ReadFull(f.ra, raw, table+index*f.inodeSize); err != nil {
		return nil, err
	}
	return f.inode(id, raw)
}

func (f *FS) inode(id uint64, raw []byte) (*node, error) {
	le := binary.LittleEndian
	n := &node{fs: f, id: id, raw: raw, flags: le.Uint32(raw[0x20:])}
	mode := le.Uint16(raw)
	n.info.Mode = vfs.UnixMode(uint32(mode))
	n.info.Size = int64(le.Uint32(raw[4:]))
	if n.info.Mode.IsRegular() || n.info.Mode.IsDir() {
		n.info.Size |= int64(le.Uint32(raw[0x6c:])) << 32
	}
	if n.info.Size < 0 {
		return nil, vfs.Damaged("inode %d: size", id)
	}
	n.info.ModTime = time.Unix(int64(int32(le.Uint32(raw[0x10:]))), 0).UTC()
	if mode == 0 {
		return nil, vfs.Damaged("inode %d is not in use", id)
	}
	return n, nil
}

// node is an inode.
type node struct {
	fs    *FS
	id    uint64
	raw   []byte
	flags uint32
	info  vfs.Info
}

func (n *node) Info() vfs.Info { return n.info }

func (n *node) ReadAt(p []byte, off int64) (int, error) {
	switch {
	case n.flags&flagEncrypted != 0:
		return 0, vfs.Unsupported("encrypted file")
	case n.flags&flagInlineData != 0:
		return n.inlineAt(p, off)
	case n.flags&flagExtents != 0:
		extents, err := n.extents(off, int64(len(p)))
		if err != nil {
			return 0, err
		}
		return vfs.ReadExtents(n.fs.ra, extents, n.info.Size, p, off)
	}
	return n.indirectAt(p, off)
}

func (n *node) Readlink() (string, error) {
	if n.info.Size > vfs.MaxLink {
		return "", vfs.Damaged("symbolic link of %d bytes", n.info.Size)
	}
	p := make([]byte, n.info.Size)
	if n.info.Size < 60 && n.flags&(flagExtents|flagInlineData) == 0 {
		copy(p, n.raw[0x28:0x64])
		return string(p), nil
	}
	if err := vfs.ReadFull(n, p, 0); err != nil {
		return "", err
	}
	return string(p), nil
}

func (n *node) List() ([]vfs.Entry, error) {
	if !n.info.Mode.IsDir() {
		return nil, fs.ErrInvalid
	}
	if n.info.Size > vfs.MaxDirBytes {
		return nil, vfs.ErrTooLarge
	}
	if n.flags&flagEncrypted != 0 {
		return nil, vfs.Unsupported("encrypted directory")
	}
	p := make([]byte, n.info.Size)
	if err := vfs.ReadFull(n, p, 0); err != nil {
		return nil, err
	}
	if n.flags&flagInlineData != 0 {
		return n.inlineEntries(p)
	}
	var list []vfs.Entry
	for len(p) > 0 { // entries never cross a block
		k := min(int64(len(p)), n.fs.block)
		var err error
		if list, err = n.entries(list, p[:k]); err != nil {
			return nil, err
		}
		p = p[k:]
	}
	return list, nil
}

// entries parses the entries of one block. Blocks of a hash tree look like
// blocks of unused entries.
func (n *node) entries(list []vfs.Entry, p []byte) ([]vfs.Entry, error) {
	le := binary.LittleEndian
	for len(p) >= 8 {
		ino, length, nameLen := le.Uint32(p), int(le.Uint16(p[4:])), int(p[6])
		if length == 0xffff || length == 0 && n.fs.block == 65536 {
			length = 65536
		}
		if n.fs.incompat&incompatFileType == 0 {
			nameLen = int(le.Uint16(p[6:]))
		}
		if length < 8 || length > len(p) || 8+nameLen > length {
			return nil, vfs.Damaged("directory %d: entry of %d bytes", n.id, length)
		}
		if name := string(p[8 : 8+nameLen]); ino != 0 && name != "." && name != ".." {
			if len(list) == vfs.MaxEntries {
				return nil, vfs.ErrTooLarge
			}
			list = append(list, vfs.Entry{Name: name, ID: uint64(ino)})
		}
		p = p[length:]
	}
	return list, nil
}

// inlineEntries parses a directory kept in its inode: the parent's number, then
// entries in the inode proper, then entries in its extended attributes.
func (n *node) inlineEntries(p []byte) (list []vfs.Entry, err error) {
	k := min(len(p), 60)
	if k > 4 {
		if list, err = n.entries(nil, p[4:k]); err != nil {
			return nil, err
		}
	}
	return n.entries(list, p[k:])
}
