// Command batchimport imports every disk image of a directory, some at once,
// and prints one summary. It shows how a migration tool embeds quickimport: a
// failed image does not stop the others, and run again it goes on where it was,
// as every import keeps what it has reached in the state directory.
//
// It reads keys and region from the environment that 'fastimage import --help'
// lists.
//
//	batchimport -bucket images -os-version "Debian GNU/Linux 12 64bit" -state state disks/
//
// Exit status: 0 when all images are there, 1 when some are not, 2 wrong usage.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
	"unicode"

	"golang.org/x/sync/errgroup"

	"github.com/fastimage/fastimage/quickimport"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

type settings struct {
	bucket, osVersion, state, dir string
	parallel                      int
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stderr)
	if err != nil {
		return 2
	}
	client, err := quickimport.New(clientOptions(s.state)...)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	files, err := images(s.dir)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return summary(stdout, importAll(ctx, client, s, files))
}

func parse(args []string, stderr io.Writer) (s settings, err error) {
	fl := flag.NewFlagSet("batchimport", flag.ContinueOnError)
	fl.SetOutput(stderr)
	fl.StringVar(&s.bucket, "bucket", os.Getenv("FASTIMAGE_BUCKET"), "bucket to upload to")
	fl.StringVar(&s.osVersion, "os-version", "", "operating system of the images (none: data disks)")
	fl.StringVar(&s.state, "state", "batchimport-state", "directory for what is needed to go on")
	fl.IntVar(&s.parallel, "parallel", 2, "imports at once")
	if err := fl.Parse(args); err != nil {
		return s, err
	}
	if s.dir = fl.Arg(0); fl.NArg() != 1 || s.bucket == "" || s.parallel < 1 {
		fmt.Fprintln(stderr, "usage: batchimport -bucket BUCKET [flags] DIRECTORY")
		fl.PrintDefaults()
		return s, errors.New("usage")
	}
	return s, nil
}

// clientOptions take cloud and credentials from the environment.
func clientOptions(state string) []quickimport.Option {
	opts := []quickimport.Option{
		quickimport.WithRegion(os.Getenv("HW_REGION_NAME")),
		quickimport.WithCredentials(quickimport.EnvCredentials()),
		quickimport.WithStateDir(state),
	}
	for name, with := range map[string]func(string) quickimport.Option{
		"FASTIMAGE_IMS_ENDPOINT": quickimport.WithIMSEndpoint,
		"FASTIMAGE_OBS_ENDPOINT": quickimport.WithOBSEndpoint,
		"FASTIMAGE_IAM_ENDPOINT": quickimport.WithIAMEndpoint,
	} {
		if v := os.Getenv(name); v != "" {
			opts = append(opts, with(v))
		}
	}
	return opts
}

// images are the regular files of a directory, but hidden ones.
func images(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if e.Type().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: no files", dir)
	}
	return files, nil
}

// outcome is what became of a file.
type outcome struct {
	file   string
	result *quickimport.Result
	err    error
	took   time.Duration
}

// importAll imports the files, so many at once, and the others when one fails.
func importAll(ctx context.Context, c *quickimport.Client, s settings, files []string) []outcome {
	outcomes := make([]outcome, len(files))
	var g errgroup.Group
	g.SetLimit(s.parallel)
	for i, file := range files {
		g.Go(func() error {
			img := quickimport.Image{Name: imageName(file), OSVersion: s.osVersion, Bucket: s.bucket}
			if s.osVersion == "" {
				img.Type = quickimport.TypeData
			}
			began := time.Now()
			res, err := c.Import(ctx, quickimport.File(file), img)
			outcomes[i] = outcome{file, res, err, time.Since(began)}
			return nil
		})
	}
	_ = g.Wait() // every error is in its outcome
	return outcomes
}

// imageName is the file's name without its extension, in characters that an
// image's name may have.
func imageName(file string) string {
	base := filepath.Base(file)
	base = strings.TrimSuffix(base, filepath.Ext(base))
	return strings.Map(func(r rune) rune {
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-._", r)) {
			return r
		}
		return '-'
	}, base)
}

// summary prints a line for each file and gives the exit status.
func summary(w io.Writer, outcomes []outcome) int {
	failed := 0
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, o := range outcomes {
		if o.err != nil {
			failed++
			fmt.Fprintf(t, "failed\t%s\t%s\n", o.file, strings.ReplaceAll(o.err.Error(), "\n", "; "))
			continue
		}
		fmt.Fprintf(t, "done\t%s\t%s\t%.1f s\n", o.file, cmp.Or(o.result.ImageID, o.result.JobID), o.took.Seconds())
	}
	fmt.Fprintf(t, "%d of %d images imported\n", len(outcomes)-failed, len(outcomes))
	if err := t.Flush(); err != nil || failed > 0 {
		return 1
	}
	return 0
}
