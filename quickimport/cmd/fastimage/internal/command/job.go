package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fastimage/fastimage/quickimport"
)

func (a *app) jobCmd() *cobra.Command {
	var cloud cloudFlags
	var wait, asJSON bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "job [flags] ID",
		Short: "show a job of the image service, or wait for its end",
		Long: `Job prints the state of the job that creates an image; with --wait it waits until the
job has ended. The exit status is 4 if the job failed in the cloud.

With --json it prints the service's answer: job_id, job_type, status (INIT,
RUNNING, SUCCESS, FAIL), begin_time, end_time, error_code, fail_reason, entities
(image_id, image_name, current_task, process_percent, error_code, error,
addition_error_code, addition_error_msg).`,
		Example: `  fastimage job --region cn-north-4 --wait 8a12fc664fb4daa3014fb4e581380005`,
		Args:    argCount(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if timeout < 0 {
				return usagef("--timeout %s: want a duration such as 30m", timeout)
			}
			w := &watch{open: a.progress}
			defer w.finish()
			client, err := cloud.client(a)
			if err != nil {
				return err
			}
			ctx, cancel := (&followFlags{timeout: timeout}).context(cmd.Context())
			defer cancel()
			job, err := findJob(ctx, client, args[0], wait, w.option())
			w.finish()
			if job != nil {
				if perr := a.printJob(job, asJSON); perr != nil {
					return perr
				}
			}
			if _, failed := errors.AsType[*quickimport.JobError](err); failed {
				err = &printedError{err, "job " + job.ID + " failed"} // the reason is above
			}
			return a.afterTimeout(ctx, err)
		},
	}
	topic(cmd, topicOutput, func(fl *pflag.FlagSet) {
		fl.BoolVar(&wait, "wait", false, "wait until the job has ended")
		fl.DurationVar(&timeout, "timeout", 0, "stop waiting after this time, for instance 30m; the job continues (default: none)")
		jsonFlag(fl, &asJSON)
	})
	cloud.add(a, cmd)
	return cmd
}

// findJob reads a job; one that has failed is returned with the error that says so.
func findJob(ctx context.Context, c *quickimport.Client, id string, wait bool, events quickimport.ImportOption) (job *quickimport.Job, err error) {
	if wait {
		job, err = c.WaitJob(ctx, id, events)
	} else {
		job, err = c.Job(ctx, id)
	}
	if failed, ok := errors.AsType[*quickimport.JobError](err); ok {
		return &failed.Job, err
	}
	if err == nil && job.Status == quickimport.JobFail {
		err = &quickimport.JobError{Job: *job}
	}
	return job, err
}

func (a *app) printJob(j *quickimport.Job, asJSON bool) error {
	if asJSON {
		return a.printJSON(j)
	}
	lines := pairs(8, [2]string{"job", j.ID}, [2]string{"status", string(j.Status)}, [2]string{"type", j.Type},
		[2]string{"began", j.BeginTime}, [2]string{"ended", j.EndTime}, [2]string{"image", j.Entities.ImageID},
		[2]string{"name", j.Entities.ImageName}, [2]string{"task", j.Entities.CurrentTask})
	for _, reason := range reasons(j) {
		lines = append(lines, "reason   "+reason)
	}
	if j.Status != quickimport.JobSuccess {
		lines = append(lines, fmt.Sprintf("percent  %g", j.Entities.ProcessPercent))
	}
	return a.print(oneLineEach(lines))
}

// reasons are why a job failed, each once: the service often repeats itself.
func reasons(j *quickimport.Job) (list []string) {
	for _, p := range [][2]string{{j.ErrorCode, j.FailReason}, {j.Entities.ErrorCode, j.Entities.Error},
		{j.Entities.AdditionErrorCode, j.Entities.AdditionErrorMsg}} {
		r := strings.TrimSpace(p[0] + " " + p[1])
		if r != "" && !slices.Contains(list, r) {
			list = append(list, r)
		}
	}
	return list
}

// printedError is an error whose details have been printed.
type printedError struct {
	err  error
	text string
}

func (e *printedError) Error() string { return e.text }
func (e *printedError) Unwrap() error { return e.err }
