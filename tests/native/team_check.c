/*
 * team_check.c: the rules of team.h on made-up clocks; prints what fails.
 *
 * -DPLANT=1 forgets every late start: the check must fail then.
 */
#define _GNU_SOURCE
#include <stdio.h>

#include "team.h"

#ifndef PLANT
#define PLANT 0
#endif

static int failures;
static double now;

static void check(int ok, const char *what)
{
    if (!ok) {
        printf("FAILED: %s\n", what);
        failures++;
    }
}

/* A caller nobody has seen before. */
static void fresh(void) { memory = (team_memory){.start = START_NS, .wake = WAKE_NS}; }

/* One run of work that takes a thread `cost` ns and whose workers come `late`; 1 = on a team. */
static int run(double cost, double late)
{
    const int team = team_pays(cost, now);
    if (team) {
        const double begin = now;
        now += late + cost / 2;
        team_learn(cost, begin, PLANT ? 0 : late, now);
    } else {
        memory.last = now += cost;
    }
    return team;
}

/* How many of n runs, `gap` ns apart, are on a team. */
static int runs(int n, double cost, double late, double gap)
{
    int teams = 0;
    for (int i = 0; i < n; i++, now += gap) teams += run(cost, late);
    return teams;
}

int main(void)
{
    fresh(), now = 1e9;
    check(!team_candidate(1000) && team_candidate(1e5), "only work above the break-even counts");
    check(run(1e6, 3e4), "much work wakes the workers");
    check(runs(100, 1e4, 500, 2e4) == 100, "little work follows them while they spin");
    now += 1e6;
    check(!run(1e4, 3e4), "one small piece of work lets them sleep");
    now += 1e6;
    check(runs(50, 1e4, 3e4, 1e6) == 0, "so do many with pauses between them");
    check(runs(50, 1e4, 1e3, 1e3) > 35, "but a burst wakes them");

    fresh(), now = 1e9;
    runs(100, 1e5, 500, 1e3);
    check(run(1e5, 1e6) && run(1e5, 500), "one late start is forgiven");
    now += 64e6, runs(3, 1e6, 500, 0);
    run(1e5, 1e6);
    check(run(1e5, 1e6) && runs(10, 1e5, 1e6, 0) == 0, "the second in a row is not");
    check(run(1e8, 1e6), "work that is long against the delay gets its team even then");

    fresh(), now = 1e9;
    const double begin = now;
    const int teams = runs(20000, 1e5, 1e6, 0);
    const double alone = 20000 * 1e5;
    check(teams > 5, "a crowded caller tries again");
    check(now - begin < 1.2 * alone, "and loses little by it");
    check(runs(2000, 1e5, 500, 0) > 1000, "it comes back when the crowd has gone");

    fresh(), now = 1e9;
    runs(50, 1e5, 350, 0);
    check(runs(1000, 5e3, 350, 0) == 1000, "near cores share little work");
    check(runs(1000, 5e3, 1200, 0) < 50, "cores far apart do not");
    check(runs(100, 2e4, 1200, 0) > 90, "but more of it they do, once awake");
    check(runs(10000, 5e3, 350, 0) > 5000, "it is noticed that they are near again");

    fresh(), now = 1e9;
    run(1e6, 3e9);
    run(1e6, 3e9);
    now += 2 * ALONE_NS;
    check(run(1e6, 500), "however late they were, it tries again soon");
    always = 1;
    check(team_candidate(0) && team_pays(0, now), "tests get their team");
    if (!failures) puts("ok");
    return failures > 0;
}
