// Asks an external scaler as KEDA does, and prints each answer as a line of JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	pb "jobqueue.dev/keda/externalscaler"
)

func say(what string, value any) {
	if err := json.NewEncoder(os.Stdout).Encode(map[string]any{"what": what, "value": value}); err != nil {
		panic(err)
	}
}

func must[A any](answer A, err error) A {
	if err != nil {
		say("error", err.Error())
		os.Exit(1)
	}
	return answer
}

// Arguments: the address, and the trigger's metadata as a JSON object.
func main() {
	metadata := map[string]string{}
	if err := json.Unmarshal([]byte(os.Args[2]), &metadata); err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	connection := must(grpc.NewClient(os.Args[1],
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin":{}}]}`),
		grpc.WithTransportCredentials(insecure.NewCredentials())))
	scaler := pb.NewExternalScalerClient(connection)
	object := &pb.ScaledObjectRef{Name: "workers", Namespace: "prod", ScalerMetadata: metadata}

	specs, err := scaler.GetMetricSpec(ctx, object)
	if err != nil {
		say("refused", []string{status.Code(err).String(), status.Convert(err).Message()})
		return
	}
	spec := specs.MetricSpecs[0]
	say("spec", []any{spec.MetricName, spec.TargetSize, spec.TargetSizeFloat})
	changing := must(must(scaler.StreamMetricSpec(ctx, object)).Recv())
	say("the same", changing.MetricSpecs[0].TargetSizeFloat)

	active := must(scaler.StreamIsActive(ctx, object))
	for {
		answer, err := active.Recv()
		if errors.Is(err, io.EOF) {
			say("end", nil)
			return
		}
		pushed := must(answer, err).Result
		request := &pb.GetMetricsRequest{ScaledObjectRef: object, MetricName: spec.MetricName}
		value := must(scaler.GetMetrics(ctx, request)).MetricValues[0]
		polled := must(scaler.IsActive(ctx, object)).Result
		say("active", []any{pushed, polled, value.MetricName, value.MetricValue, value.MetricValueFloat})
	}
}
