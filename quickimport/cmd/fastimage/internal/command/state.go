package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fastimage/fastimage/uploader"
)

// stateFlags name a state directory; by default both of the command are meant.
type stateFlags struct{ dir string }

func (f *stateFlags) add(fl *pflag.FlagSet) {
	fl.StringVar(&f.dir, "state-dir", "", "state directory (default: those of import and upload in the user's cache directory)")
}

func (f *stateFlags) dirs(a *app) ([]string, error) {
	if f.dir != "" {
		return []string{f.dir}, nil
	}
	var dirs []string
	for _, folder := range []string{"imports", "uploads"} {
		dir, err := a.stateDir("", folder)
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, dir)
	}
	return dirs, nil
}

// stateEntry is a saved import or upload. The JSON names are stable.
type stateEntry struct {
	ID      string    `json:"id"`
	Kind    string    `json:"kind"`  // import or upload
	Stage   string    `json:"stage"` // how far it got; "finished" ones only save another import
	Name    string    `json:"name"`  // of the image
	Source  string    `json:"source"`
	Target  string    `json:"target"` // obs://BUCKET/KEY
	JobID   string    `json:"job_id"`
	ImageID string    `json:"image_id"`
	Changed time.Time `json:"changed"`

	dir string
}

const stageFinished = "finished"

// readState reads what a state file says of itself. One that is damaged is
// listed too, so that it can be removed.
func readState(dir, file string) (*stateEntry, error) {
	st, err := os.Stat(filepath.Join(dir, file))
	if err != nil {
		return nil, err
	}
	e := &stateEntry{ID: strings.TrimSuffix(file, ".json"), Kind: "upload", Stage: "damaged", Changed: st.ModTime().UTC().Truncate(time.Second), dir: dir}
	data, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return nil, err
	}
	var s struct {
		Stage  string
		Source struct{ Path string }
		Result *struct {
			ImageName string `json:"image_name"`
			Bucket    string
			Key       string
			JobID     string `json:"job_id"`
			ImageID   string `json:"image_id"`
		}
		Bucket, Key string
		UploadID    string `json:"upload_id"`
	}
	if json.Unmarshal(data, &s) != nil {
		return e, nil
	}
	if s.Result != nil {
		e.Kind, e.Stage, e.Name, e.Source, e.JobID, e.ImageID = "import", s.Stage, s.Result.ImageName, s.Source.Path, s.Result.JobID, s.Result.ImageID
		e.Target = obsScheme + s.Result.Bucket + "/" + s.Result.Key
	} else if s.Bucket != "" {
		e.Stage, e.Target = "uploading", obsScheme+s.Bucket+"/"+s.Key
	}
	return e, nil
}

// states lists what directories hold, the oldest first.
func states(dirs []string) ([]*stateEntry, error) {
	var all []*stateEntry
	for _, dir := range dirs {
		files, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			if !f.Type().IsRegular() || filepath.Ext(f.Name()) != ".json" {
				continue
			}
			e, err := readState(dir, f.Name())
			if errors.Is(err, fs.ErrNotExist) {
				continue // it has just finished
			}
			if err != nil {
				return nil, err
			}
			all = append(all, e)
		}
	}
	slices.SortStableFunc(all, func(a, b *stateEntry) int { return a.Changed.Compare(b.Changed) })
	return all, nil
}

func (a *app) stateCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "state",
		Short: "list and remove the saved state of imports and uploads",
		Args:  noSuchCommand,
		RunE:  needsCommand,
	}
	cmd.AddCommand(a.stateListCmd(), a.statePruneCmd())
	return cmd
}

func (a *app) stateListCmd() *cobra.Command {
	var where stateFlags
	var list listFlags
	cmd := &cobra.Command{
		Use:   "list [flags]",
		Short: "list the saved state of imports and uploads",
		Long: `List prints what is saved of imports and uploads on this machine: those that can be
resumed by running the same command again, and finished imports, which print
their image again.

With --output json (or --json) it prints one object: state, a list of id, kind,
stage, name, source, target, job_id, image_id, changed.`,
		Example: `  fastimage state list`,
		Args:    argCount(0, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			dirs, err := where.dirs(a)
			if err != nil {
				return err
			}
			all, err := states(dirs)
			if err != nil {
				return err
			}
			return a.printStates(all, list.asJSON())
		},
	}
	where.add(cmd.Flags())
	list.add(cmd.Flags())
	return cmd
}

func (a *app) printStates(all []*stateEntry, asJSON bool) error {
	if asJSON {
		return a.printJSON(map[string][]*stateEntry{"state": append([]*stateEntry{}, all...)})
	}
	var rows [][]string
	for _, e := range all {
		rows = append(rows, []string{e.ID, e.Kind, e.Stage, minute(e.Changed), e.Target})
	}
	return a.printTable([]string{"ID", "KIND", "STAGE", "CHANGED", "TARGET"}, rows)
}

func (a *app) statePruneCmd() *cobra.Command {
	var where stateFlags
	var age time.Duration
	cmd := &cobra.Command{
		Use:   "prune [flags] [ID...]",
		Short: "remove saved state",
		Long: `Prune removes the saved state of finished imports, of everything that has not
changed for --older-than, or of the entries with the given ids. State that is in
use stays. An unfinished import or upload can no longer be resumed then; the parts
that it has uploaded stay in the bucket until 'fastimage uploads abort' removes
them.`,
		Example: `  fastimage state prune
  fastimage state prune --older-than 720h`,
		Args: argCount(0, 1000),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case age < 0:
				return usagef("--older-than %s: want a duration such as 720h", age)
			case age > 0 && len(args) > 0:
				return usagef("--older-than and ids contradict each other; give one of them")
			}
			dirs, err := where.dirs(a)
			if err != nil {
				return err
			}
			all, err := states(dirs)
			if err != nil {
				return err
			}
			doomed, err := selectStates(all, args, age)
			if err != nil {
				return err
			}
			return a.pruneStates(cmd.Context(), doomed)
		},
	}
	where.add(cmd.Flags())
	cmd.Flags().DurationVar(&age, "older-than", 0, "remove all that has not changed for this long, for instance 720h")
	return cmd
}

// selectStates returns the entries to remove.
func selectStates(all []*stateEntry, ids []string, age time.Duration) ([]*stateEntry, error) {
	for _, id := range ids {
		if !slices.ContainsFunc(all, func(e *stateEntry) bool { return e.ID == id }) {
			return nil, advisef("'fastimage state list' lists them", "no saved state has the id %q", id)
		}
	}
	keep := func(e *stateEntry) bool {
		switch {
		case len(ids) > 0:
			return !slices.Contains(ids, e.ID)
		case age > 0:
			return time.Since(e.Changed) < age
		}
		return e.Stage != stageFinished
	}
	return slices.DeleteFunc(all, keep), nil
}

func (a *app) pruneStates(ctx context.Context, doomed []*stateEntry) error {
	removed := 0
	for _, e := range doomed {
		err := removeState(ctx, e)
		if errors.Is(err, uploader.ErrLocked) {
			fmt.Fprintf(a.stderr, "%s stays: it is in use\n", e.ID)
			continue
		}
		if err != nil {
			return err
		}
		removed++
	}
	if !a.quiet {
		fmt.Fprintf(a.stderr, "removed %d of %d\n", removed, len(doomed))
	}
	return nil
}

func removeState(ctx context.Context, e *stateEntry) error {
	store, err := uploader.NewFileStore(e.dir)
	if err != nil {
		return err
	}
	unlock, err := store.Lock(ctx, e.ID)
	if err != nil {
		return err
	}
	return errors.Join(store.Remove(ctx, e.ID), unlock())
}
