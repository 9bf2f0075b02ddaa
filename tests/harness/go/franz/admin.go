package main

import (
	"context"
	"fmt"

	"carrick/peer/line"

	"github.com/twmb/franz-go/pkg/kadm"
)

type adminOp func(context.Context, *kadm.Client, *line.Request, line.Answer) error

func withAdmin(op adminOp) line.Op {
	return func(ctx context.Context, q *line.Request, a line.Answer) error {
		cl, err := client(q)
		if err != nil {
			return err
		}
		defer cl.Close()
		return op(ctx, kadm.NewClient(cl), q, a)
	}
}

var adminOps = map[string]adminOp{
	"create_topic":      createTopic,
	"describe_topic":    describeTopic,
	"create_partitions": createPartitions,
	"delete_topic":      deleteTopic,
	"delete_records":    deleteRecords,
	"describe_configs":  describeConfigs,
	"alter_configs":     alterConfigs,
	"list_groups":       listGroups,
	"describe_group":    describeGroup,
	"delete_group":      deleteGroup,
	"group_offsets":     groupOffsets,
	"alter_offsets":     commit,
	"commit":            commit,
	"committed":         committed,
}

func createTopic(ctx context.Context, admin *kadm.Client, q *line.Request, _ line.Answer) error {
	configs := map[string]*string{}
	for name, value := range q.Configs {
		configs[name] = &value
	}
	_, err := admin.CreateTopic(ctx, max(1, q.Partitions), 1, configs, q.Topic)
	return err
}

func describeTopic(ctx context.Context, admin *kadm.Client, q *line.Request, a line.Answer) error {
	topics, err := admin.ListTopics(ctx, q.Topic)
	if err == nil {
		err = topics.Error()
	}
	a["partitions"] = len(topics[q.Topic].Partitions)
	return err
}

func createPartitions(ctx context.Context, admin *kadm.Client, q *line.Request, _ line.Answer) error {
	answers, err := admin.UpdatePartitions(ctx, q.Total, q.Topic)
	if err == nil {
		err = answers.Error()
	}
	return err
}

func deleteTopic(ctx context.Context, admin *kadm.Client, q *line.Request, _ line.Answer) error {
	_, err := admin.DeleteTopic(ctx, q.Topic)
	return err
}

func deleteRecords(ctx context.Context, admin *kadm.Client, q *line.Request, _ line.Answer) error {
	offsets := kadm.Offsets{}
	offsets.AddOffset(q.Topic, q.Partition, q.Before, -1)
	answers, err := admin.DeleteRecords(ctx, offsets)
	if err == nil {
		err = answers.Error()
	}
	return err
}

func describeConfigs(ctx context.Context, admin *kadm.Client, q *line.Request, a line.Answer) error {
	all, err := admin.DescribeTopicConfigs(ctx, q.Topic)
	if err != nil {
		return err
	}
	found, err := all.On(q.Topic, nil)
	configs := map[string]string{}
	for _, c := range found.Configs {
		configs[c.Key] = c.MaybeValue()
	}
	a["configs"] = configs
	return err
}

func alterConfigs(ctx context.Context, admin *kadm.Client, q *line.Request, _ line.Answer) error {
	var changes []kadm.AlterConfig
	for name, value := range q.Configs {
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
	}
	answers, err := admin.AlterTopicConfigs(ctx, changes, q.Topic)
	for _, answer := range answers {
		if err == nil {
			err = answer.Err
		}
	}
	return err
}

func listGroups(ctx context.Context, admin *kadm.Client, _ *line.Request, a line.Answer) error {
	listed, err := admin.ListGroups(ctx)
	a["groups"] = listed.Groups()
	return err
}

func describeGroup(ctx context.Context, admin *kadm.Client, q *line.Request, a line.Answer) error {
	all, err := admin.DescribeGroups(ctx, q.Group)
	if err != nil {
		return err
	}
	group := all[q.Group]
	a["state"], a["members"] = group.State, len(group.Members)
	return group.Err
}

func deleteGroup(ctx context.Context, admin *kadm.Client, q *line.Request, _ line.Answer) error {
	_, err := admin.DeleteGroup(ctx, q.Group)
	return err
}

func groupOffsets(ctx context.Context, admin *kadm.Client, q *line.Request, a line.Answer) error {
	found, err := admin.FetchOffsets(ctx, q.Group)
	offsets := map[string]int64{}
	found.Each(func(o kadm.OffsetResponse) { offsets[fmt.Sprintf("%s-%d", o.Topic, o.Partition)] = o.At })
	a["offsets"] = offsets
	return err
}

func commit(ctx context.Context, admin *kadm.Client, q *line.Request, _ line.Answer) error {
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: q.Topic, Partition: q.Partition, At: q.Offset, LeaderEpoch: -1, Metadata: q.Metadata})
	return admin.CommitAllOffsets(ctx, q.Group, offsets)
}

func committed(ctx context.Context, admin *kadm.Client, q *line.Request, a line.Answer) error {
	offsets, err := admin.FetchOffsets(ctx, q.Group)
	a["offset"] = int64(-1)
	if o, ok := offsets.Lookup(q.Topic, q.Partition); ok {
		a["offset"], a["metadata"] = o.At, o.Metadata
	}
	return err
}
