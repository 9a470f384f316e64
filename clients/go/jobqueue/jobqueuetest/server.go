package jobqueuetest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
	"unicode"
)

const startWithin = 2 * time.Minute

// ErrServerMissing: there is no server for tests, or it does not start. The error's text says what would help.
var ErrServerMissing = errors.New("there is no server for tests")

const missing = `%w. One of these makes one known:
  pip install 'jobqueue-server[embedded]'            a server is started, and ends with the tests (Linux)
  JOBQUEUE_SERVER_COMMAND='/opt/jq/jobqueue-server'  the same, by that command
  JOBQUEUE_TEST_SERVER=127.0.0.1:50051               one that runs, such as a container of it
  JOBQUEUE_TEST_KEY=jq_...                           and the key of an administrator, where it asks for keys`

// TestServer is a real server, for tests that share it: each has a namespace of its own, so they do not see each other's
// jobs. [NewScope] makes one for all tests of a package, or with JOBQUEUE_TEST_SHARED=1 of all packages; a program of its
// own starts one by [StartServer].
type TestServer struct {
	// Target is its address, host:port. Key is an administrator's; empty: it asks for none.
	Target, Key string

	command *exec.Cmd
	stdin   io.Closer
}

// StartServer finds a server for tests, or starts one, which takes some seconds.
//
// It is found in this order; nothing is downloaded. JOBQUEUE_TEST_SERVER: the address of one that runs, with the key of an
// administrator in JOBQUEUE_TEST_KEY. JOBQUEUE_SERVER_COMMAND: what is run, with `ephemeral` behind it. `jobqueue-server`
// on PATH. A server that was started ends by Close, and with this process in whatever way that ends.
//
// With JOBQUEUE_TEST_SHARED=1 all processes of this user that ask so get the same one, as `go test ./...` has a process for
// each package; it ends with the last of them. Empty or 0: each starts its own.
//
// ErrServerMissing: there is none, or it does not start; the context's error as well, where that has ended.
func StartServer(ctx context.Context) (*TestServer, error) {
	if target := os.Getenv("JOBQUEUE_TEST_SERVER"); target != "" {
		return &TestServer{Target: target, Key: os.Getenv("JOBQUEUE_TEST_KEY")}, nil
	}
	words, err := serverCommand()
	if err != nil {
		return nil, err
	}
	words = append(words, "ephemeral")
	if shared := os.Getenv("JOBQUEUE_TEST_SHARED"); shared != "" && shared != "0" {
		words = append(words, "--shared")
	}
	said := strings.Join(words, " ")
	// Its words go to a file, which may outlive this process: the server may say something as it ends.
	log, err := os.CreateTemp("", "jobqueue-server-*.log")
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	_ = os.Remove(log.Name())
	command := exec.Command(words[0], words[1:]...)
	command.Stderr = log
	stdin, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err = command.Start(); err != nil {
		return nil, fmt.Errorf("%w: %s can't be started: %w", ErrServerMissing, said, err)
	}
	starting, started := context.WithTimeout(ctx, startWithin)
	stop := context.AfterFunc(starting, func() {
		// What the command has started ends with its stdin, and may hold its stdout until then.
		_ = stdin.Close()
		_ = command.Process.Kill()
		_ = stdout.Close()
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	late := !stop()
	why := starting.Err()
	started()
	if err != nil || late {
		ended := command.Wait()
		_, _ = log.Seek(0, io.SeekStart)
		words, _ := io.ReadAll(log)
		if late {
			return nil, fmt.Errorf("%w: %s was stopped before it answered: %w. It said:\n%s", ErrServerMissing, said, why, words)
		}
		return nil, fmt.Errorf("%w: %s ended before it answered (%v). A server that does not know `ephemeral` is too old for "+
			"this client. It said:\n%s", ErrServerMissing, said, ended, words)
	}
	server := &TestServer{command: command, stdin: stdin}
	answer := struct{ GRPC, Key string }{}
	if err = json.Unmarshal(line, &answer); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s said %q in place of where it answers", ErrServerMissing, said, line),
			server.Close())
	}
	server.Target, server.Key = answer.GRPC, answer.Key
	return server, nil
}

// Close ends the server, if it was started here, and waits for its end.
func (s *TestServer) Close() error {
	if s.command == nil {
		return nil
	}
	command := s.command
	s.command = nil
	return errors.Join(s.stdin.Close(), command.Wait())
}

func serverCommand() ([]string, error) {
	if words := wordsOf(os.Getenv("JOBQUEUE_SERVER_COMMAND")); len(words) > 0 {
		return words, nil
	}
	found, err := exec.LookPath("jobqueue-server")
	if err != nil {
		return nil, fmt.Errorf(missing, ErrServerMissing)
	}
	return []string{found}, nil
}

// wordsOf are the words of a command. What is in quotes, single or double, is not parted.
func wordsOf(command string) []string {
	var words []string
	var word strings.Builder
	begun, quote := false, rune(0)
	for _, each := range command {
		switch {
		case quote != 0 && each == quote:
			quote = 0
		case quote == 0 && (each == '"' || each == '\''):
			quote, begun = each, true
		case quote == 0 && unicode.IsSpace(each):
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteRune(each)
			begun = true
		}
	}
	if begun {
		words = append(words, word.String())
	}
	return words
}

// shared is the server of all tests of this process, and ends with it.
var shared = sync.OnceValues(func() (*TestServer, error) { return StartServer(context.Background()) })
