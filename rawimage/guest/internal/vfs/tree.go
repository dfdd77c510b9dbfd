package vfs

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	maxLinks      = 40   // symbolic links followed for one name, as Linux does
	maxComponents = 512  // of one name, links resolved
	maxCachedDirs = 2048 // directories whose entries are remembered
	maxCached     = 1 << 20
)

// Tree is a root file system with others mounted below it. It implements fs.FS,
// fs.StatFS, fs.ReadDirFS, fs.ReadFileFS and fs.ReadLinkFS, with symbolic links
// resolved inside the tree. Its methods never panic and may be called at the
// same time.
type Tree struct {
	mu     sync.Mutex // guards what follows
	root   FileSystem
	mounts map[string]FileSystem // by path without a leading slash
	dirs   map[dirKey]*dir
	cached int // entries in dirs
}

type dirKey struct {
	fs FileSystem
	id uint64
}

type dir struct {
	entries []Entry
	byName  map[string]uint64
}

// NewTree returns a tree of one file system.
func NewTree(root FileSystem) *Tree {
	return &Tree{root: root, mounts: map[string]FileSystem{}, dirs: map[dirKey]*dir{}}
}

// Mount makes a file system visible at a path. The path need not exist.
func (t *Tree) Mount(at string, f FileSystem) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mounts[strings.Trim(path.Clean("/"+at), "/")] = f
}

// Mounted returns the file system mounted at a path, nil if there is none.
func (t *Tree) Mounted(at string) FileSystem {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mounts[strings.Trim(path.Clean("/"+at), "/")]
}

// place is where a walk has got to.
type place struct {
	fs   FileSystem
	id   uint64
	path string
}

// found is the end of a walk.
type found struct {
	place
	node Node
}

// walk resolves a name; with follow, a link in its last component too.
func (t *Tree) walk(name string, follow bool) (at found, err error) {
	stack := []place{{t.root, t.root.Root(), ""}}
	if f := t.mounts[""]; f != nil {
		stack[0] = place{f, f.Root(), ""}
	}
	todo := split(name)
	links := 0
	for steps := 0; len(todo) > 0; steps++ {
		if steps > maxComponents || len(todo) > maxComponents {
			return found{}, fmt.Errorf("path too long: %w", fs.ErrInvalid)
		}
		part := todo[0]
		todo = todo[1:]
		if part == ".." {
			stack = stack[:max(1, len(stack)-1)]
			continue
		}
		next, err := t.step(stack[len(stack)-1], part)
		if err != nil {
			return found{}, err
		}
		node, err := next.fs.Open(next.id)
		if err != nil {
			return found{}, err
		}
		if node.Info().Mode&fs.ModeSymlink != 0 && (follow || len(todo) > 0) {
			if links++; links > maxLinks {
				return found{}, fmt.Errorf("too many symbolic links: %w", fs.ErrInvalid)
			}
			target, err := node.Readlink()
			if err != nil {
				return found{}, err
			}
			if strings.HasPrefix(target, "/") {
				stack = stack[:1]
			}
			todo = append(split(target), todo...)
			continue
		}
		stack = append(stack, next)
	}
	last := stack[len(stack)-1]
	node, err := last.fs.Open(last.id)
	return found{last, node}, err
}

func split(name string) []string {
	return slices.DeleteFunc(strings.Split(name, "/"), func(s string) bool { return s == "" || s == "." })
}

func (t *Tree) step(from place, name string) (place, error) {
	full := path.Join(from.path, name)
	if f := t.mounts[full]; f != nil {
		return place{f, f.Root(), full}, nil
	}
	d, err := t.dir(from.fs, from.id)
	if err != nil {
		return place{}, err
	}
	if from.fs.FoldsCase() {
		name = strings.ToLower(name)
	}
	id, ok := d.byName[name]
	if !ok {
		return place{}, fs.ErrNotExist
	}
	return place{from.fs, id, full}, nil
}

func (t *Tree) dir(f FileSystem, id uint64) (*dir, error) {
	key := dirKey{f, id}
	if d := t.dirs[key]; d != nil {
		return d, nil
	}
	node, err := f.Open(id)
	if err != nil {
		return nil, err
	}
	if !node.Info().Mode.IsDir() {
		return nil, fs.ErrNotExist // as "not a directory" means to whoever looks for a file
	}
	entries, err := node.List()
	if err != nil {
		return nil, err
	}
	entries = slices.DeleteFunc(entries, func(e Entry) bool { return !validName(e.Name) })
	slices.SortStableFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	d := &dir{entries, make(map[string]uint64, len(entries))}
	for _, e := range entries {
		if f.FoldsCase() {
			e.Name = strings.ToLower(e.Name)
		}
		d.byName[e.Name] = e.ID
	}
	if t.cached += len(entries); len(t.dirs) >= maxCachedDirs || t.cached > maxCached {
		clear(t.dirs)
		t.cached = len(entries)
	}
	t.dirs[key] = d
	return d, nil
}

func validName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}

// guard turns a panic of a reader into an error: the one place where readers of
// hostile file systems are called for a tree.
func guard(op, name string, err *error) {
	if r := recover(); r != nil {
		*err = Damaged("%v", r)
	}
	if *err != nil && *err != io.EOF {
		*err = &fs.PathError{Op: op, Path: name, Err: *err}
	}
}

func (t *Tree) find(op, name string, follow bool) (at found, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer guard(op, name, &err)
	if !fs.ValidPath(name) {
		return found{}, fs.ErrInvalid
	}
	return t.walk(name, follow)
}

// Open implements fs.FS.
func (t *Tree) Open(name string) (fs.File, error) {
	at, err := t.find("open", name, true)
	if err != nil {
		return nil, err
	}
	return &file{tree: t, at: at, name: name}, nil
}

// Stat implements fs.StatFS.
func (t *Tree) Stat(name string) (fs.FileInfo, error) { return t.stat("stat", name, true) }

// Lstat implements fs.ReadLinkFS.
func (t *Tree) Lstat(name string) (fs.FileInfo, error) { return t.stat("lstat", name, false) }

func (t *Tree) stat(op, name string, follow bool) (fs.FileInfo, error) {
	at, err := t.find(op, name, follow)
	if err != nil {
		return nil, err
	}
	return info{path.Base(name), at.node.Info()}, nil
}

// ReadLink implements fs.ReadLinkFS.
func (t *Tree) ReadLink(name string) (target string, err error) {
	at, err := t.find("readlink", name, false)
	if err != nil {
		return "", err
	}
	defer guard("readlink", name, &err)
	if at.node.Info().Mode&fs.ModeSymlink == 0 {
		return "", fs.ErrInvalid
	}
	return at.node.Readlink()
}

// Resolve returns the path that a name leads to, links resolved.
func (t *Tree) Resolve(name string) (string, error) {
	at, err := t.find("resolve", name, true)
	return at.path, err
}

// ReadDir implements fs.ReadDirFS.
func (t *Tree) ReadDir(name string) (list []fs.DirEntry, err error) {
	at, err := t.find("readdir", name, true)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	defer guard("readdir", name, &err)
	d, err := t.dir(at.fs, at.id)
	if err != nil {
		return nil, err
	}
	list = make([]fs.DirEntry, len(d.entries))
	for i, e := range d.entries {
		list[i] = &dirEntry{fs: at.fs, entry: e}
	}
	return list, nil
}

// ReadFile implements fs.ReadFileFS for files of up to 64 MiB.
func (t *Tree) ReadFile(name string) ([]byte, error) { return t.ReadSmall(name, 64<<20) }

// ReadSmall reads a file of up to limit bytes.
func (t *Tree) ReadSmall(name string, limit int64) (p []byte, err error) {
	at, err := t.find("read", name, true)
	if err != nil {
		return nil, err
	}
	defer guard("read", name, &err)
	i := at.node.Info()
	if !i.Mode.IsRegular() {
		return nil, fs.ErrInvalid
	}
	if i.Size > limit {
		return nil, fmt.Errorf("%d bytes: %w", i.Size, ErrTooLarge)
	}
	p = make([]byte, i.Size)
	if err := ReadFull(at.node, p, 0); err != nil {
		return nil, err
	}
	return p, nil
}

// info implements fs.FileInfo.
type info struct {
	name string
	i    Info
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.i.Size }
func (i info) Mode() fs.FileMode  { return i.i.Mode }
func (i info) ModTime() time.Time { return i.i.ModTime }
func (i info) IsDir() bool        { return i.i.Mode.IsDir() }
func (i info) Sys() any           { return nil }

// dirEntry reads the node only when its type is asked for.
type dirEntry struct {
	fs    FileSystem
	entry Entry
}

func (d *dirEntry) Name() string { return d.entry.Name }

func (d *dirEntry) IsDir() bool { return d.Type().IsDir() }

func (d *dirEntry) Type() fs.FileMode {
	i, err := d.Info()
	if err != nil {
		return fs.ModeIrregular
	}
	return i.Mode().Type()
}

func (d *dirEntry) Info() (i fs.FileInfo, err error) {
	defer guard("stat", d.entry.Name, &err)
	node, err := d.fs.Open(d.entry.ID)
	if err != nil {
		return nil, err
	}
	return info{d.entry.Name, node.Info()}, nil
}

// file implements fs.File, fs.ReadDirFile and io.ReaderAt.
type file struct {
	tree *Tree
	at   found
	name string
	off  int64
	list []fs.DirEntry
	read bool // list has been read
}

func (f *file) Close() error { return nil }

func (f *file) Stat() (fs.FileInfo, error) { return info{path.Base(f.name), f.at.node.Info()}, nil }

func (f *file) ReadAt(p []byte, off int64) (n int, err error) {
	defer guard("read", f.name, &err)
	if f.at.node.Info().Mode.IsDir() {
		return 0, fs.ErrInvalid
	}
	return f.at.node.ReadAt(p, off)
}

func (f *file) Read(p []byte) (int, error) {
	n, err := f.ReadAt(p, f.off)
	f.off += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

func (f *file) ReadDir(n int) (list []fs.DirEntry, err error) {
	if !f.read {
		if f.list, err = f.tree.ReadDir(f.name); err != nil {
			return nil, err
		}
		f.read = true
	}
	if n <= 0 {
		list, f.list = f.list, nil
		return list, nil
	}
	if len(f.list) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(f.list))
	list, f.list = f.list[:n], f.list[n:]
	return list, nil
}
