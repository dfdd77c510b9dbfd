// Command compare runs fastimage beside the tools that people use today, on the
// same files and in one run, and prints a table with ratios:
//
//	go run ./internal/compare [-image disk.raw] [-runs 3] [-dir DIR]
//
// It compares with qemu-img, zstd, s3cmd, rclone and bmaptool where they are
// installed, and uploads to versitygw, or to the simulated cloud where that is
// not installed. Each row is the best of so many runs, ours and theirs in turn.
// Without an image it makes one of 4 GiB that holds a GiB of the files of the Go
// installation.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

func main() {
	image := flag.String("image", "", "RAW image to work on (default: one is made)")
	runs := flag.Int("runs", 3, "runs of each command; the best counts")
	dir := flag.String("dir", "", "directory for some GB of files (default: a temporary one)")
	flag.Parse()
	if err := run(*image, *dir, *runs); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

// bench is one run of the program.
type bench struct {
	dir, image string
	runs       int
	env        []string // of every command
	rows       []row
}

// row is a line of the table.
type row struct {
	what         string
	ours, theirs usage
	tool         string
}

// usage is what a command took.
type usage struct {
	seconds float64
	peak    int64 // bytes of memory, 0 where the system does not tell
	size    int64 // bytes of its output, 0 if it is of no interest
}

func run(image, dir string, runs int) (err error) {
	if dir, err = os.MkdirTemp(dir, "compare-"); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{dir: dir, image: image, runs: max(runs, 1)}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "AWS_") { // rclone would heed them
			b.env = append(b.env, e)
		}
	}
	if out, err := exec.Command("go", "build", "-o", b.path("fastimage"), "./quickimport/cmd/fastimage").CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	if b.image == "" {
		b.image = b.path("disk.raw")
		if err := makeImage(b.image); err != nil {
			return err
		}
	}
	for _, part := range []func() error{b.conversions, b.bitmaps, b.uploads, b.imports} {
		if err := part(); err != nil {
			return err
		}
	}
	b.print()
	return nil
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

// command is a line of a shell; out, if not "", is removed before each run and
// its size is noted.
type command struct{ tool, line, out string }

// fast is a command line of ours.
func (b *bench) fast(line, out string) command {
	return command{"fastimage", b.path("fastimage") + " " + line, out}
}

// compare runs ours and theirs in turn and notes the best of each. What is not
// installed is left out.
func (b *bench) compare(what string, ours command, theirs ...command) error {
	var best usage
	for _, t := range theirs {
		if _, err := exec.LookPath(t.tool); err != nil {
			fmt.Fprintf(os.Stderr, "compare: %s is not installed: left out\n", t.tool)
			continue
		}
		var other usage
		for range b.runs {
			for _, c := range []struct {
				command
				to *usage
			}{{ours, &best}, {t, &other}} {
				u, err := b.measure(c.command)
				if err != nil {
					return err
				}
				if c.to.seconds == 0 || u.seconds < c.to.seconds {
					*c.to = u
				}
			}
		}
		fmt.Fprintf(os.Stderr, "compare: %s: %.2f s, %s %.2f s\n", what, best.seconds, t.tool, other.seconds)
		b.rows = append(b.rows, row{what, best, other, t.tool})
	}
	return nil
}

func (b *bench) measure(c command) (usage, error) {
	if c.out != "" {
		if err := os.Remove(c.out); err != nil && !errors.Is(err, os.ErrNotExist) {
			return usage{}, err
		}
	}
	cmd := exec.Command("sh", "-c", "exec "+c.line)
	if strings.Contains(c.line, "&&") {
		cmd = exec.Command("sh", "-ec", c.line)
	}
	cmd.Env, cmd.Dir = b.env, b.dir
	began := time.Now()
	out, err := cmd.CombinedOutput()
	u := usage{seconds: time.Since(began).Seconds()}
	if err != nil {
		return u, fmt.Errorf("%s: %w: %s", c.line, err, out)
	}
	u.peak = peak(cmd.ProcessState)
	if c.out != "" {
		info, err := os.Stat(c.out)
		if err != nil {
			return u, err
		}
		u.size = info.Size()
	}
	return u, nil
}

const zstdQcow2 = "-c -O qcow2 -o compression_type=zstd -m 8 -W"

func (b *bench) conversions() error {
	z, q := b.path("disk.zvhd2"), b.path("disk.qcow2")
	encode := func(from string) string { return fmt.Sprintf("convert -q %s %s", from, z) }
	qemu := func(format, from string) command {
		return command{"qemu-img", fmt.Sprintf("qemu-img convert -f %s %s %s %s", format, zstdQcow2, from, q), q}
	}
	steps := []struct {
		what   string
		ours   command
		theirs []command
	}{
		{"RAW to a compressed file, level default", b.fast(encode(b.image), z), []command{qemu("raw", b.image),
			{"zstd", fmt.Sprintf("zstd -q -f -3 -T0 %s -o %s", b.image, b.path("disk.zst")), b.path("disk.zst")}}},
		{"RAW to a compressed file, level fastest", b.fast(encode(b.image)+" --level fastest", z), []command{qemu("raw", b.image)}},
	}
	for _, s := range steps {
		if err := b.compare(s.what, s.ours, s.theirs...); err != nil {
			return err
		}
	}
	if _, err := exec.LookPath("qemu-img"); err != nil {
		return nil
	}
	for _, kind := range []struct{ what, options string }{{"QCOW2", ""}, {"QCOW2 with zlib", "-c"}} {
		src := b.path("src.qcow2")
		if _, err := b.measure(command{"qemu-img", fmt.Sprintf("qemu-img convert -f raw -O qcow2 %s %s %s", kind.options, b.image, src), src}); err != nil {
			return err
		}
		if err := b.compare(kind.what+" to a compressed file", b.fast(encode(src), z), qemu("qcow2", src)); err != nil {
			return err
		}
	}
	raw := b.path("back.raw")
	return b.compare("compressed file to RAW", b.fast(fmt.Sprintf("convert -q %s %s", z, raw), raw),
		command{"qemu-img", fmt.Sprintf("qemu-img convert -f qcow2 -O raw -m 8 -W %s %s", q, raw), raw})
}

func (b *bench) bitmaps() error {
	mf := b.path("disk.mf")
	return b.compare("map of the data of a sparse RAW image", b.fast(fmt.Sprintf("bitmap -q -f %s %s", b.image, mf), mf),
		command{"bmaptool", fmt.Sprintf("bmaptool create -o %s %s", b.path("disk.bmap"), b.image), ""})
}

func (b *bench) print() {
	fmt.Printf("%s/%s, %d cores, %s, best of %d\n\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), b.runs)
	fmt.Println("| what | fastimage | with | its | times as fast |")
	fmt.Println("|---|---|---|---|---|")
	for _, r := range b.rows {
		fmt.Printf("| %s | %s | %s | %s | %.1f |\n", r.what, r.ours, r.tool, r.theirs, r.theirs.seconds/cmp.Or(r.ours.seconds, 1))
	}
}

func (u usage) String() string {
	s := fmt.Sprintf("%.2f s", u.seconds)
	if u.peak > 0 {
		s += fmt.Sprintf(", %d MiB of memory", u.peak>>20)
	}
	if u.size > 0 {
		s += fmt.Sprintf(", output %d MiB", u.size>>20)
	}
	return s
}
