// Command diskconvert writes a disk image of any format as ZVHD2 and, beside
// it, the bitmap of its blocks (.mf). It shows how a migration tool uses the
// conversion packages alone: nothing of the cloud is linked in.
//
//	diskconvert disk.qcow2 disk.zvhd2
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/fastimage/fastimage/bitmap"
	"github.com/fastimage/fastimage/rawimage/anyimage"
	"github.com/fastimage/fastimage/zvhd2"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) != 2 {
		return errors.New("usage: diskconvert IMAGE OUT.zvhd2")
	}
	src, err := anyimage.Open(args[0])
	if err != nil {
		return err
	}
	defer src.Close()
	info, err := src.Inspect(ctx) // a disk that was cut short is an error
	if err != nil {
		return err
	}
	var sum *zvhd2.Summary
	err = replace(args[1], func(w io.Writer) (err error) {
		sum, err = zvhd2.Encode(ctx, w, src, src.Size())
		return err
	})
	if err != nil {
		return err
	}
	blocks, err := bitmap.Scan(ctx, src, src.Size())
	if err != nil {
		return err
	}
	mf := strings.TrimSuffix(args[1], filepath.Ext(args[1])) + ".mf"
	if err := replace(mf, func(w io.Writer) error { return blocks.Encode(w, bitmap.DefaultLayout()) }); err != nil {
		return err
	}
	if err := src.CheckUnchanged(); err != nil {
		return errors.Join(err, os.Remove(args[1]), os.Remove(mf))
	}
	fmt.Fprintf(stdout, "%s: %s, %d partitions, %d of %d blocks stored, %d bytes\n",
		args[1], src.Format(), len(info.Partitions), sum.StoredBlocks, sum.Blocks, sum.FileSize)
	return nil
}

// replace writes a file that appears under its name only when it is whole.
func replace(name string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".diskconvert-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is nothing to remove
	w := bufio.NewWriterSize(f, 1<<20)
	err = write(w)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
